"""``GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}``, all of them, of one kind, or of one kind and type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from trio.testing import MockClock

from conduit_py.data import relations
from conduit_py.service.rooms import relations as relation_service
from tests.rig.client import Client
from tests.rig.relating import (
    ask_relations,
    children,
    edit,
    get_event,
    ids,
    ignore,
    page,
    react,
    refer,
    relation,
    reply,
    send_event,
)
from tests.rig.rooms import Json, RoomServer, create, in_room, join, leave, redact, send, set_state
from tests.rig.rooms import forget as forget_room


async def read_all(user: Client, room_id: str, event_id: str, direction: str, limit: int, **more: str) -> list[str]:
    """Every page of the relations of an event, one after the other."""
    found: list[str] = []
    query = {"dir": direction, "limit": str(limit), **more}
    while True:
        answer = await page(user, room_id, event_id, **query)
        assert len(answer["chunk"]) <= limit
        assert ("prev_batch" in answer) == ("from" in query)
        found += ids(answer["chunk"])
        if "next_batch" not in answer:
            return found
        query["from"] = answer["next_batch"]


async def make_children(user: Client, room_id: str, parent: str) -> list[str]:
    """A few of each kind, the oldest first."""
    return [
        await react(user, room_id, parent, "a"),
        await reply(user, room_id, parent),
        await edit(user, room_id, parent),
        await refer(user, room_id, parent),
        await send(user, room_id, "other", **relation("org.example.other", parent)),
        await react(user, room_id, parent, "b"),
        await reply(user, room_id, parent),
    ]


async def test_get_relating_events_tells_children_latest_first(rooms: RoomServer, autojump_clock: MockClock) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    await send(alice, room_id, "unrelated")
    made = await make_children(alice, room_id, parent)
    answer = await page(alice, room_id, parent)
    assert ids(answer["chunk"]) == made[::-1]
    assert answer.keys() == {"chunk"}
    assert answer["chunk"][0] == await get_event(alice, room_id, made[-1])
    assert await children(alice, room_id, parent, dir="f") == made


async def test_get_relating_events_of_one_kind(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    first, thread, edited, reference, other, second, again = await make_children(alice, room_id, parent)
    assert await children(alice, room_id, parent, "m.annotation") == [second, first]
    assert await children(alice, room_id, parent, "m.thread") == [again, thread]
    assert await children(alice, room_id, parent, "m.replace") == [edited]
    assert await children(alice, room_id, parent, "m.reference") == [reference]
    assert await children(alice, room_id, parent, "org.example.other") == [other]
    assert await children(alice, room_id, parent, "org.example.another") == []


async def test_get_relating_events_of_one_kind_and_type(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    reaction = await react(alice, room_id, parent)
    custom = await send_event(alice, room_id, "org.example.vote", relation("m.annotation", parent, key="yes"))
    assert await children(alice, room_id, parent, "m.annotation", "m.reaction") == [reaction]
    assert await children(alice, room_id, parent, "m.annotation", "org.example.vote") == [custom.json["event_id"]]
    assert await children(alice, room_id, parent, "m.thread", "m.reaction") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("direction", ["b", "f"])
async def test_get_relating_events_pages_put_together_are_all_children(
    rooms: RoomServer, direction: str, limit: int
) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    made = await make_children(alice, room_id, parent)
    await send(alice, room_id, "unrelated")
    made += [await react(alice, room_id, parent, "c")]
    in_order = made if direction == "f" else made[::-1]
    assert await read_all(alice, room_id, parent, direction, limit) == in_order
    assert await read_all(alice, room_id, parent, direction, limit, recurse="true") == in_order


async def test_get_relating_events_tokens_are_places_of_the_timeline(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    old = [await react(alice, room_id, parent, key) for key in "ab"]
    marker = (await alice.get(in_room(room_id, "messages"), dir="b", limit="0")).json["start"]
    new = [await react(alice, room_id, parent, key) for key in "cd"]
    assert await children(alice, room_id, parent, **{"from": marker}) == old[::-1]
    assert await children(alice, room_id, parent, to=marker) == new[::-1]
    assert await children(alice, room_id, parent, dir="f", to=marker) == old
    assert await children(alice, room_id, parent, dir="f", **{"from": marker}) == new
    first = await page(alice, room_id, parent, limit="1")
    back = await page(alice, room_id, parent, dir="f", **{"from": first["next_batch"]})
    assert ids(back["chunk"]) == ids(first["chunk"])
    assert back["prev_batch"] == first["next_batch"]


async def test_get_relating_events_recurses_three_levels_deep(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_ids = [await send(alice, room_id, "root")]
    for _ in range(5):
        event_ids.append(await refer(alice, room_id, event_ids[-1]))
    answer = await page(alice, room_id, event_ids[0], recurse="true")
    assert ids(answer["chunk"]) == event_ids[3:0:-1]
    assert answer["recursion_depth"] == 3
    assert await read_all(alice, room_id, event_ids[0], "f", 2, recurse="true") == event_ids[1:4]


async def test_get_relating_events_without_recursion_tells_its_depth_if_asked(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    child = await refer(alice, room_id, parent)
    await refer(alice, room_id, child)
    answer = await page(alice, room_id, parent, recurse="false")
    assert ids(answer["chunk"]) == [child]
    assert answer["recursion_depth"] == 0


async def test_get_relating_events_recurses_through_what_is_asked_for_only(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    root = await send(alice, room_id, "root")
    threaded = await reply(alice, room_id, root)
    reaction = await react(alice, room_id, threaded)
    direct = await react(alice, room_id, root)
    assert await children(alice, room_id, root, recurse="true") == [direct, reaction, threaded]
    assert await children(alice, room_id, root, "m.annotation", recurse="true") == [direct]
    assert await children(alice, room_id, root, "m.thread", recurse="true") == [threaded]


async def test_get_relating_events_leaves_out_redacted_children(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    made = await make_children(alice, room_id, parent)
    for event_id in made[:-1]:
        await redact(alice, room_id, event_id)
    assert await children(alice, room_id, parent) == made[-1:]
    await redact(alice, room_id, made[-1])
    assert await children(alice, room_id, parent) == []


async def test_get_relating_events_keeps_the_children_of_a_redacted_parent(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    made = await make_children(alice, room_id, parent)
    await redact(alice, room_id, parent)
    assert await children(alice, room_id, parent) == made[::-1]


async def test_get_relating_events_leaves_out_ignored_users(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    parent = await send(bob, room_id, "parent")
    from_bob = await react(bob, room_id, parent)
    from_alice = await react(alice, room_id, parent)
    await ignore(alice, bob)
    assert await children(alice, room_id, parent) == [from_alice]
    assert await children(alice, room_id, parent, recurse="true") == [from_alice]
    assert await children(bob, room_id, parent) == [from_alice, from_bob]


async def test_get_relating_events_leaves_out_what_may_not_be_seen(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility="shared")
    await join(bob, room_id)
    parent = await send(alice, room_id, "parent")
    seen = await react(alice, room_id, parent, "seen")
    await leave(bob, room_id)
    await react(alice, room_id, parent, "unseen")
    answer = await page(bob, room_id, parent)
    assert ids(answer["chunk"]) == [seen]
    assert "next_batch" not in answer
    assert await children(bob, room_id, parent, recurse="true") == [seen]


async def test_get_relating_events_of_other_rooms_do_not_count(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    here, there = await create(alice), await create(alice)
    parent = await send(alice, here, "parent")
    await make_children(alice, there, parent)
    assert await children(alice, here, parent) == []
    assert (await ask_relations(alice, there, parent)).outcome == (404, "M_NOT_FOUND")


async def test_get_relating_events_of_a_state_event(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    topic = await set_state(alice, room_id, "m.room.topic", {"topic": "cake"})
    reaction = await react(alice, room_id, topic)
    assert await children(alice, room_id, topic) == [reaction]


async def test_get_relating_events_has_no_replies_without_rel_type(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    await send(alice, room_id, "reply", **{"m.relates_to": {"m.in_reply_to": {"event_id": parent}}})
    assert await children(alice, room_id, parent) == []


@pytest.mark.parametrize(
    "relates_to",
    [
        {"rel_type": 1, "event_id": "PARENT"},
        {"rel_type": "m.reference", "event_id": ["PARENT"]},
        {"rel_type": "m.reference"},
        {"event_id": "PARENT"},
        {"rel_type": "m.reference", "event_id": "$" + "x" * 300},
        {"rel_type": "m.reference", "event_id": "$nul\0"},
        "PARENT",
        None,
    ],
)
async def test_get_relating_events_ignores_what_has_not_the_shape_of_a_relation(
    rooms: RoomServer, relates_to: object
) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    if isinstance(relates_to, dict):
        relates_to = {name: parent if value == "PARENT" else value for name, value in relates_to.items()}
    await send(alice, room_id, "child", **{"m.relates_to": relates_to})
    assert await children(alice, room_id, parent) == []


async def test_get_relating_events_not_found_for_an_unknown_parent(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    assert (await ask_relations(alice, room_id, "$unknown")).outcome == (404, "M_NOT_FOUND")
    await send(alice, room_id, "child of nobody", **relation("m.reference", "$unknown"))
    assert (await ask_relations(alice, room_id, "$unknown")).outcome == (404, "M_NOT_FOUND")
    assert (await ask_relations(alice, "!unknown:one.test", "$unknown")).outcome == (404, "M_NOT_FOUND")


async def test_get_relating_events_not_found_for_a_parent_that_may_not_be_seen(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice, visibility="joined")
    parent = await send(alice, room_id, "parent")
    await react(alice, room_id, parent)
    await join(bob, room_id)
    assert (await ask_relations(bob, room_id, parent)).outcome == (404, "M_NOT_FOUND")
    assert (await ask_relations(carol, room_id, parent)).outcome == (404, "M_NOT_FOUND")
    await leave(alice, room_id)
    assert (await ask_relations(alice, room_id, parent)).status == 200
    await forget_room(alice, room_id)
    assert (await ask_relations(alice, room_id, parent)).outcome == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    "query",
    [{"dir": "x"}, {"limit": "-1"}, {"limit": "many"}, {"from": "nowhere"}, {"to": "nowhere"}, {"recurse": "maybe"}],
)
async def test_get_relating_events_invalid_param(rooms: RoomServer, query: dict[str, str]) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    assert (await ask_relations(alice, room_id, parent, **query)).outcome == (400, "M_INVALID_PARAM")


async def test_get_relating_events_missing_token(rooms: RoomServer) -> None:
    assert (await ask_relations(rooms.client(), "!room:one.test", "$event")).outcome == (401, "M_MISSING_TOKEN")


async def test_get_relating_events_bundles_what_relates_to_the_children(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    root = await send(alice, room_id, "root")
    threaded = await reply(alice, room_id, root)
    edited = await edit(alice, room_id, threaded)
    chunk: list[Json] = (await page(alice, room_id, root, "m.thread"))["chunk"]
    assert [event["unsigned"]["m.relations"]["m.replace"]["event_id"] for event in chunk] == [edited]


async def test_get_relating_events_recurses_not_for_ever(rooms: RoomServer) -> None:
    """In room version 1 event ids are made up, so relations can run in a circle."""
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version="1")
    rooms.next_event_ids[:] = ["$two:one.test", "$one:one.test"]
    await refer(alice, room_id, "$two:one.test")
    await refer(alice, room_id, "$one:one.test")
    assert await children(alice, room_id, "$one:one.test", recurse="true") == ["$two:one.test", "$one:one.test"]
    own = (await get_event(alice, room_id, "$one:one.test"))["unsigned"]["m.relations"]
    assert own == {"m.reference": {"chunk": [{"event_id": "$two:one.test"}]}}


@pytest.mark.parametrize("recurse", ["false", "true"])
async def test_get_relating_events_goes_on_where_a_request_had_read_enough(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch, recurse: str
) -> None:
    monkeypatch.setattr(relation_service, "SCANNED_MAX", 5)
    monkeypatch.setattr(relation_service, "CHILDREN_PER_SLICE", 2)
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    parent = await send(alice, room_id, "parent")
    first = await react(alice, room_id, parent)
    for number in range(12):
        await react(bob, room_id, parent, str(number))
    last = await react(alice, room_id, parent, "last")
    await ignore(alice, bob)
    assert (await page(alice, room_id, parent, limit="2", recurse=recurse))["next_batch"]
    assert await read_all(alice, room_id, parent, "b", 2, recurse=recurse) == [last, first]
    assert await read_all(alice, room_id, parent, "f", 2, recurse=recurse) == [first, last]


async def test_get_relating_events_recurses_through_few_children_at_a_time(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relation_service, "CHILDREN_PER_SLICE", 3)
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    for number in range(10):
        await react(alice, room_id, parent, str(number))
    threaded = await reply(alice, room_id, parent)
    below = await refer(alice, room_id, threaded)
    looked: list[int] = []
    scan_places = relations.scan_places

    def count(*args: Any, **kwargs: Any) -> Iterator[Any]:
        looked.append(0)
        for found in scan_places(*args, **kwargs):
            looked[-1] += 1
            yield found

    monkeypatch.setattr(relations, "scan_places", count)
    assert await children(alice, room_id, parent, "m.thread", recurse="true") == [threaded]
    assert max(looked) <= 4
    found = await children(alice, room_id, parent, recurse="true")
    assert {threaded, below} < set(found)
    assert len(found) == 12
    monkeypatch.setattr(relation_service, "DESCENDANTS_MAX", 6)
    looked.clear()
    assert len(await children(alice, room_id, parent, recurse="true")) == 6
    assert sum(looked) <= 8
