"""Who sees what of a room, by history visibility and membership; and that pages put together are the whole of it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
import pytest
import trio

from conduit_py.data import timeline
from conduit_py.matrix.ids import EventId
from conduit_py.service.rooms import timeline as timeline_service
from kvschema.catalog.timeline import REJECTED, SOFT_FAILED
from tests.rig.client import Client
from tests.rig.rooms import (
    Json,
    RoomServer,
    ban,
    bodies,
    create,
    forget,
    in_room,
    invite,
    join,
    kick,
    leave,
    redact,
    send,
    set_state,
)


async def read_all(user: Client, room_id: str, direction: str, limit: int, **more: str) -> list[list[Json]]:
    """Every page of a room, one after the other."""
    pages: list[list[Json]] = []
    query = {"dir": direction, "limit": str(limit), **more}
    while True:
        response = await user.get(in_room(room_id, "messages"), **query)
        assert response.status == 200, response.body
        pages.append(response.json["chunk"])
        if "end" not in response.json:
            return pages
        assert response.json["end"] != response.json["start"]
        query["from"] = response.json["end"]


def ids(pages: list[list[Json]]) -> list[str]:
    return [event["event_id"] for page in pages for event in page]


# Who sees what.


@dataclass(frozen=True)
class Case:
    history: str
    """What becomes of bob."""
    visibility: str
    sees: str
    """The messages he may see, by their first letters: before, invited, joined, gone."""
    may_page: bool
    """Whether /messages, /state and /members are open to him."""


CASES = [
    Case("stranger", "joined", "", False),
    Case("stranger", "invited", "", False),
    Case("stranger", "shared", "", False),
    Case("stranger", "world_readable", "b", True),
    Case("invited", "joined", "", False),
    Case("invited", "invited", "i", False),
    Case("invited", "shared", "", False),
    Case("invited", "world_readable", "bi", True),
    Case("joined", "joined", "j", True),
    Case("joined", "invited", "ij", True),
    Case("joined", "shared", "bij", True),
    Case("joined", "world_readable", "bij", True),
    Case("left", "joined", "j", True),
    Case("left", "invited", "ij", True),
    Case("left", "shared", "bij", True),
    Case("left", "world_readable", "bijg", True),
    Case("kicked", "shared", "bij", True),
    Case("banned", "joined", "j", True),
    Case("banned", "invited", "ij", True),
    Case("banned", "shared", "bij", True),
    Case("banned", "world_readable", "bijg", True),
    Case("left and banned", "shared", "bij", True),
    Case("invited again", "joined", "j", True),
    Case("invited again", "shared", "bij", True),
    Case("back", "joined", "j", True),
    Case("back", "invited", "ij", True),
    Case("back", "shared", "bijg", True),
    Case("forgot", "joined", "", False),
    Case("forgot", "invited", "", False),
    Case("forgot", "shared", "", False),
    Case("forgot", "world_readable", "bijg", True),
]


async def tell(alice: Client, bob: Client, history: str, room_id: str) -> dict[str, str]:
    """Live through the history, and return the message of each of its times."""
    sent = {"b": await send(alice, room_id, "before")}
    if history == "stranger":
        return sent
    await invite(alice, room_id, bob)
    sent["i"] = await send(alice, room_id, "invited")
    if history == "invited":
        return sent
    await join(bob, room_id)
    sent["j"] = await send(alice, room_id, "joined")
    if history == "joined":
        return sent
    if history == "kicked":
        await kick(alice, room_id, bob)
    elif history == "banned":
        await ban(alice, room_id, bob)
    else:
        await leave(bob, room_id)
    sent["g"] = await send(alice, room_id, "gone")
    after: dict[str, Callable[[], Awaitable[None]]] = {
        "left and banned": lambda: ban(alice, room_id, bob),
        "invited again": lambda: invite(alice, room_id, bob),
        "back": lambda: join(bob, room_id),
        "forgot": lambda: forget(bob, room_id),
    }
    if history in after:
        await after[history]()
    return sent


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.history}-{case.visibility}")
async def test_reader_sees_what_the_table_says(rooms: RoomServer, case: Case) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility=case.visibility)
    sent = await tell(alice, bob, case.history, room_id)

    for part, event_id in sent.items():
        event = await bob.get(in_room(room_id, "event", event_id))
        context = await bob.get(in_room(room_id, "context", event_id))
        assert (event.status == 200) == (part in case.sees), part
        assert (context.status == 200) == (part in case.sees and case.may_page), part
    for operation in ("state", "members", "messages"):
        query = {"dir": "b"} if operation == "messages" else {}
        status = (await bob.get(in_room(room_id, operation), **query)).status
        assert status == (200 if case.may_page else 403), operation
    if case.may_page:
        shown = [event_id for part, event_id in sent.items() if part in case.sees]
        for direction, expected in (("f", shown), ("b", shown[::-1])):
            pages = await read_all(bob, room_id, direction, 3)
            assert [event_id for event_id in ids(pages) if event_id in sent.values()] == expected


async def test_visibility_counts_as_it_was_at_the_event(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility="joined")
    await send(alice, room_id, "closed")
    await set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "shared"})
    await send(alice, room_id, "open")
    await set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    await send(alice, room_id, "closed again")
    await join(bob, room_id)
    pages = await read_all(bob, room_id, "f", 100)
    assert [body for page in pages for body in bodies(page)] == ["open"]


@pytest.mark.parametrize("flag", [REJECTED, SOFT_FAILED], ids=["rejected", "soft-failed"])
async def test_refused_events_are_shown_nowhere(rooms: RoomServer, flag: int) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    hidden = await send(alice, room_id, "hidden")
    shown = await send(alice, room_id, "shown")
    rooms.is_planted = True
    async with rooms.store.writer.turn() as turn:
        with rooms.store.snapshot() as snapshot:
            found = timeline.find_row(snapshot, EventId(hidden))
        assert found is not None
        timeline.stage_row(turn, found[0], found[1]._replace(flags=found[1].flags | flag))

    for direction in ("b", "f"):
        listed = ids(await read_all(alice, room_id, direction, 2))
        assert hidden not in listed
        assert shown in listed
    assert (await alice.get(in_room(room_id, "event", hidden))).status == 404
    around = (await alice.get(in_room(room_id, "context", shown))).json
    assert hidden not in [event["event_id"] for event in around["events_before"]]


# Pages.


async def random_room(rooms: RoomServer, chance: random.Random) -> tuple[Client, str, list[str]]:
    """A room with a random history, a member or former member of it, and its timeline."""
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility=chance.choice(["joined", "invited", "shared", "world_readable"]))
    is_in = False
    sent: list[str] = []
    for number in range(chance.randint(5, 60)):
        what = chance.choice(["text", "text", "text", "member", "visibility", "name", "redact", "his"])
        if what == "member":
            await (leave if is_in else join)(bob, room_id)
            is_in = not is_in
        elif what == "visibility":
            wanted = chance.choice(["joined", "invited", "shared", "world_readable"])
            await set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": wanted})
        elif what == "name":
            await set_state(alice, room_id, "m.room.name", {"name": f"name {number}"})
        elif what == "redact" and sent:
            await redact(alice, room_id, sent.pop(chance.randrange(len(sent))))
        else:
            sent.append(await send(bob if what == "his" and is_in else alice, room_id, str(number)))
    if chance.random() < 0.6 and not is_in:
        await join(bob, room_id)
    return bob, room_id, ids(await read_all(alice, room_id, "f", 100))


@pytest.mark.parametrize("seed", range(12))
async def test_pages_together_are_the_visible_timeline(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(timeline_service, "SCANNED_MAX", chance.choice([1, 3, 10, 4000]))
    monkeypatch.setattr(timeline_service, "EVENTS_PER_SLICE", chance.choice([1, 2, 5, 200]))
    bob, room_id, whole = await random_room(rooms, chance)
    may_page = (await bob.get(in_room(room_id, "messages"), dir="b")).status == 200
    if not may_page:
        assert (await bob.get(in_room(room_id, "state"))).status == 403
        return
    until = len(whole)
    if (await bob.get(in_room(room_id, "joined_members"))).status != 200:
        state = (await bob.get(in_room(room_id, "state"))).json
        if not is_open(state):
            # Who left reads up to the leave: what was open to everybody for a while after it is no part of the pages.
            until = 1 + max(whole.index(event["event_id"]) for event in state if is_leave(event, bob.user_id))
    visible = [
        event_id for event_id in whole[:until] if (await bob.get(in_room(room_id, "event", event_id))).status == 200
    ]
    for limit in (1, 2, 7, 1000):
        assert ids(await read_all(bob, room_id, "f", limit)) == visible
        assert ids(await read_all(bob, room_id, "b", limit)) == visible[::-1]
    filtered = await read_all(bob, room_id, "b", 2, filter=orjson.dumps({"types": ["m.room.name"]}).decode())
    names = [event["event_id"] for page in await read_all(bob, room_id, "f", 9) for event in page if is_name(event)]
    assert ids(filtered) == names[::-1]


def is_open(state: list[Json]) -> bool:
    return any(event["content"].get("history_visibility") == "world_readable" for event in state)


def is_leave(event: Json, user_id: str) -> bool:
    return bool(event["type"] == "m.room.member" and event["state_key"] == user_id)


def is_name(event: Json) -> bool:
    return bool(event["type"] == "m.room.name")


async def test_page_on_which_nothing_may_be_shown_tells_where_to_go_on(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline_service, "SCANNED_MAX", 20)
    alice = await rooms.register("alice")
    room_id = await create(alice, name="at the bottom")
    for number in range(50):
        await send(alice, room_id, str(number))
    pages = await read_all(alice, room_id, "b", 10, filter='{"types": ["m.room.name"]}')
    assert [len(page) for page in pages] == [0, 0, 1]


async def test_limit_is_bounded(rooms: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_service, "LIMIT_MAX", 5)
    alice = await rooms.register("alice")
    room_id = await create(alice)
    response = await alice.get(in_room(room_id, "messages"), dir="b", limit="1000000")
    assert len(response.json["chunk"]) == 5
    event_id = response.json["chunk"][2]["event_id"]
    around = (await alice.get(in_room(room_id, "context", event_id), limit="1000000")).json
    assert len(around["events_before"]) + len(around["events_after"]) <= 5


async def test_others_get_their_turn_while_a_long_page_is_read(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline_service, "EVENTS_PER_SLICE", 5)
    alice = await rooms.register("alice")
    room_id = await create(alice)
    for number in range(40):
        await send(alice, room_id, str(number))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await alice.get(in_room(room_id, "messages"), dir="b", limit="40")
        nursery.cancel_scope.cancel()
    assert turns >= 40 / 5


async def test_page_is_not_disturbed_by_what_is_sent_meanwhile(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    old = [await send(alice, room_id, str(number)) for number in range(10)]
    first = (await alice.get(in_room(room_id, "messages"), dir="b", limit="4")).json
    await send(alice, room_id, "new")
    second = (await alice.get(in_room(room_id, "messages"), dir="b", limit="6", **{"from": first["end"]})).json
    assert ids([first["chunk"], second["chunk"]]) == old[::-1]
    newer = (await alice.get(in_room(room_id, "messages"), dir="f", **{"from": first["start"]})).json
    assert bodies(newer["chunk"]) == ["new"]
