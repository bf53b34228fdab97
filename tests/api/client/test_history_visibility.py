"""Who reads what of a room's past: each history visibility x each way of coming and going x each operation that reads.

What is expected is worked out here from the rules of the specification, of a list of memberships and nothing else.

Spec: client-server-api/#room-history-visibility
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import orjson
import pytest

from tests.rig.asking import ask_member, get_state, membership_of
from tests.rig.client import Client, Response
from tests.rig.rooms import Json, bodies, create, in_room, join, leave, send, set_state
from tests.rig.whole import WholeServer

VISIBILITIES = ("world_readable", "shared", "invited", "joined")

HISTORIES = {
    "never": (),
    "invited": ("invite",),
    "rejected": ("invite", "leave"),
    "banned before joining": ("invite", "ban"),
    "joined": ("join",),
    "invited, joined": ("invite", "join"),
    "left": ("join", "leave"),
    "kicked": ("join", "kick"),
    "banned": ("join", "ban"),
    "banned, unbanned": ("join", "ban", "unban"),
    "left, invited": ("join", "leave", "invite"),
    "left, banned": ("join", "leave", "ban"),
    "left, rejoined": ("join", "leave", "join"),
    "left, rejoined, left": ("join", "leave", "join", "leave"),
    "banned, let in again": ("join", "ban", "unban", "invite", "join"),
    "knocked": ("knock",),
    "knock taken back": ("knock", "leave"),
    "knocked, joined": ("knock", "invite", "join"),
    "left, knocked": ("invite", "join", "leave", "knock"),
}
"""What happens to Bob, one step after the other. Alice says something before, between and after."""

_AFTER = {"kick": "leave", "unban": "leave"}
WORD = "kettle"
STEP = "org.example.step"
EVERYTHING = orjson.dumps({"room": {"include_leave": True, "timeline": {"limit": 100}}}).decode()


@dataclass(frozen=True)
class Past:
    """The room as Bob met it: his membership at each thing said."""

    visibility: str
    memberships: tuple[str, ...]

    def may_see(self, number: int) -> bool:
        """The rules, for what was said as ``number``."""
        return self._rules(self.memberships[number], self.memberships[number + 1 :])

    def may_see_step(self, number: int) -> bool:
        """The same for Bob's own membership event of that step: by the membership before or after it."""
        later = self.memberships[number + 2 :]
        return any(self._rules(self.memberships[at], later) for at in (number, number + 1))

    def _rules(self, membership: str, later: tuple[str, ...]) -> bool:
        # 1. If the history_visibility was set to world_readable, allow.
        # 2. If the user's membership was join, allow.
        if self.visibility == "world_readable" or membership == "join":
            return True
        # 3. If history_visibility was set to shared, and the user joined the room at any point after the event was
        #    sent, allow.
        if self.visibility == "shared" and "join" in later:
            return True
        # 4. If the user's membership was invite, and the history_visibility was set to invited, allow.
        # 5. Otherwise, deny.
        return self.visibility == "invited" and membership == "invite"

    @property
    def has_joined(self) -> bool:
        return "join" in self.memberships

    @property
    def is_open(self) -> bool:
        """May the room be read as such? A member, somebody who was one, and where the world may read, everybody."""
        return self.visibility == "world_readable" or self.has_joined

    @property
    def until(self) -> int:
        """The last thing said that is read by paging: somebody who left reads up to that moment."""
        end = len(self.memberships) - 1
        if self.visibility == "world_readable" or not self.has_joined:
            return end
        return max(number for number, membership in enumerate(self.memberships) if membership == "join")

    @property
    def seen(self) -> set[int]:
        return {number for number in range(len(self.memberships)) if self.may_see(number)}

    @property
    def paged(self) -> set[int]:
        return {number for number in self.seen if number <= self.until} if self.is_open else set()

    @property
    def at_the_end(self) -> str:
        """Bob's membership in the last state that he is shown."""
        return self.memberships[min(self.until + 1, len(self.memberships) - 1)]


@dataclass
class Told:
    """One room after everything happened."""

    past: Past
    alice: Client
    bob: Client
    room_id: str
    said: list[str]
    """Event ids."""
    steps: list[str]
    """Ids of Bob's membership events."""
    tokens: list[str]
    """Places right after each thing said."""
    shown: set[int]
    """What Bob's syncs showed while it happened."""
    states: set[int]
    """And which states of the room they told of."""


async def take_step(told: Told, step: str) -> None:
    alice, bob, room_id = told.alice, told.bob, told.room_id
    match step:
        case "join":
            await join(bob, room_id)
        case "leave":
            await leave(bob, room_id)
        case "knock":
            response = await bob.post(f"/knock/{room_id}", {})
            assert response.status == 200, response.body
        case _:
            response = await ask_member(alice, room_id, step, bob.user_id)
            assert response.status == 200, response.body
    told.steps.append((await get_state(alice, room_id))["m.room.member", bob.user_id]["event_id"])


async def say(told: Told) -> None:
    number = len(told.said)
    relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": told.said[0]}} if told.said else {}
    await set_state(told.alice, told.room_id, STEP, {"number": number})
    told.said.append(await send(told.alice, told.room_id, f"{WORD} {number}", **relation))
    sync = await told.alice.get("/sync", filter='{"room":{"timeline":{"limit":1}}}')
    told.tokens.append(sync.json["next_batch"])


async def tell(whole: WholeServer, visibility: str, history: tuple[str, ...]) -> Told:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    join_rule = {"type": "m.room.join_rules", "content": {"join_rule": "knock" if "knock" in history else "public"}}
    room_id = await create(alice, visibility=visibility, initial_state=[join_rule])
    memberships = ("none", *(_AFTER.get(step, step) for step in history))
    told = Told(Past(visibility, memberships), alice, bob, room_id, [], [], [], set(), set())
    since = (await bob.get("/sync", filter=EVERYTHING)).json["next_batch"]
    await say(told)
    for step in history:
        await take_step(told, step)
        await say(told)
        sync = (await bob.get("/sync", filter=EVERYTHING, since=since)).json
        section = get_section(sync, room_id)
        if section is not None:
            told.shown |= numbers(section["timeline"]["events"])
            told.states |= steps_told(section)
        since = sync["next_batch"]
    return told


def get_section(sync: Json, room_id: str) -> Json | None:
    rooms = sync["rooms"]
    section: Json | None = rooms["join"].get(room_id) or rooms["leave"].get(room_id)
    return section


def steps_told(section: Json) -> set[int]:
    """The states of the room that a section tells of, by the number of what was said then."""
    events = section["state"]["events"] + section["timeline"]["events"]
    return {event["content"]["number"] for event in events if event["type"] == STEP}


def numbers(events: list[Json]) -> set[int]:
    return {int(text.partition(" ")[2]) for text in bodies(events)}


def found(response: Response, *, status: int) -> bool:
    """Whether it is there; where not, nothing of it is told."""
    if response.status == 200:
        return True
    assert (response.status, response.errcode) == (status, "M_NOT_FOUND" if status == 404 else "M_FORBIDDEN")
    assert WORD not in response.body.decode()
    return False


CASES = [pytest.param(*case, id=f"{case[0]}: {case[1]}") for case in product(VISIBILITIES, HISTORIES)]


@pytest.mark.parametrize(("visibility", "history"), CASES)
async def test_history_is_read_by_whom_the_rules_let(whole: WholeServer, visibility: str, history: str) -> None:
    told = await tell(whole, visibility, HISTORIES[history])
    await check_events(told)
    await check_context(told)
    await check_pages(told)
    await check_sync(told)
    await check_search(told)
    await check_relations(told)
    await check_state(told)
    await check_members(told)
    await check_timestamps(told)


async def check_events(told: Told) -> None:
    past, bob = told.past, told.bob
    for number, event_id in enumerate(told.said):
        response = await bob.get(in_room(told.room_id, "event", event_id))
        assert found(response, status=404) == past.may_see(number), number
    for number, event_id in enumerate(told.steps):
        response = await bob.get(in_room(told.room_id, "event", event_id))
        assert found(response, status=404) == past.may_see_step(number), number


async def check_context(told: Told) -> None:
    for number, event_id in enumerate(told.said):
        response = await told.bob.get(in_room(told.room_id, "context", event_id), limit="100")
        # An event that may be seen is told, but not in a room that is closed to whoever asks.
        assert found(response, status=404) == (told.past.may_see(number) and told.past.is_open), number
        if response.status == 200:
            around = numbers(response.json["events_before"] + response.json["events_after"])
            assert around == told.past.paged - {number}


async def check_pages(told: Told) -> None:
    for direction in ("b", "f"):
        response = await told.bob.get(in_room(told.room_id, "messages"), dir=direction, limit="3")
        assert found(response, status=403) == told.past.is_open
        if response.status != 200:
            continue
        events = list(response.json["chunk"])
        while "end" in response.json:
            start = response.json["end"]
            response = await told.bob.get(
                in_room(told.room_id, "messages"), dir=direction, limit="3", **{"from": start}
            )
            events += response.json["chunk"]
        assert len({event["event_id"] for event in events}) == len(events)
        assert numbers(events) == told.past.paged


async def check_sync(told: Told) -> None:
    past = told.past
    sync = (await told.bob.get("/sync", filter=EVERYTHING)).json
    stays = {number for number, membership in enumerate(past.memberships) if membership == "join"}
    assert stays <= told.shown <= past.seen
    assert told.states <= set(range(past.until + 1) if past.has_joined else past.seen)
    section = get_section(sync, told.room_id)
    if section is None:
        assert not past.has_joined or past.memberships[-1] in ("invite", "knock")
        return
    shown, timeline = numbers(section["timeline"]["events"]), section["timeline"]
    assert shown <= past.seen
    assert steps_told(section) <= (set(range(past.until + 1)) if past.has_joined else past.seen)
    # A timeline is the end of what may be seen, without holes; what lies before it is read from where it begins.
    if past.has_joined and timeline["limited"]:
        before = await told.bob.get(in_room(told.room_id, "messages"), dir="b", **{"from": timeline["prev_batch"]})
        earlier = numbers(before.json["chunk"])
        assert not earlier & shown
        shown |= earlier
    if past.has_joined:
        assert {number for number in past.seen if number <= max(stays)} <= shown <= past.seen


async def check_search(told: Told) -> None:
    body = {"search_categories": {"room_events": {"search_term": WORD, "event_context": {}}}}
    response = await told.bob.post("/search", body)
    results = response.json["search_categories"]["room_events"]["results"]
    # "in all rooms that the user has been in, including those that they have left"
    assert numbers([result["result"] for result in results]) in (
        (told.past.paged,) if told.past.has_joined else (told.past.paged, set())
    )
    for result in results:
        context = result["context"]
        assert numbers(context["events_before"] + context["events_after"]) <= told.past.paged


async def check_relations(told: Told) -> None:
    path = f"/_matrix/client/v1/rooms/{told.room_id}/relations/{told.said[0].replace('$', '%24')}"
    response = await told.bob.get(path, limit="100")
    assert found(response, status=404) == (told.past.may_see(0) and told.past.is_open)
    if response.status == 200:
        assert numbers(response.json["chunk"]) == told.past.paged - {0}


async def check_state(told: Told) -> None:
    past, bob, room_id = told.past, told.bob, told.room_id
    whole = await bob.get(in_room(room_id, "state"))
    entry = await bob.get(in_room(room_id, "state", STEP, ""))
    assert found(whole, status=403) == found(entry, status=403) == past.is_open
    if whole.status == 200:
        state = {(event["type"], event["state_key"]): event["content"] for event in whole.json}
        assert state[STEP, ""] == entry.json == {"number": past.until}
        assert membership_in(state.get(("m.room.member", bob.user_id))) == past.at_the_end


async def check_members(told: Told) -> None:
    past, bob, room_id = told.past, told.bob, told.room_id
    for number, token in enumerate(told.tokens):
        response = await bob.get(in_room(room_id, "members"), at=token)
        # Who was in the room at a moment is seen by whom what was said at that moment is.
        is_shown = number > past.until or past.may_see(number)
        assert found(response, status=403) == (past.is_open and is_shown), number
        if response.status == 200:
            members = {event["state_key"]: event["content"] for event in response.json["chunk"]}
            expected = past.memberships[number] if number <= past.until else past.at_the_end
            assert membership_in(members.get(bob.user_id)) == expected, number
    joined = await bob.get(in_room(room_id, "joined_members"))
    assert found(joined, status=403) == (past.memberships[-1] == "join")
    assert await membership_of(told.alice, room_id, bob.user_id) == (
        None if past.memberships[-1] == "none" else past.memberships[-1]
    )


def membership_in(content: Json | None) -> Any:
    return "none" if content is None else content["membership"]


async def check_timestamps(told: Told) -> None:
    path = f"/_matrix/client/v1/rooms/{told.room_id}/timestamp_to_event"
    for direction, ts in (("f", "0"), ("b", "9999999999999")):
        response = await told.bob.get(path, dir=direction, ts=ts)
        if response.status == 200:
            event = await told.bob.get(in_room(told.room_id, "event", response.json["event_id"]))
            assert event.status == 200, "an event is named that may not be read"
            assert told.past.is_open
        else:
            assert response.errcode == "M_FORBIDDEN"
            assert not told.past.is_open


@pytest.mark.parametrize("before", VISIBILITIES)
@pytest.mark.parametrize("after", VISIBILITIES)
async def test_change_of_visibility_is_seen_by_whom_the_old_or_the_new_lets(
    whole: WholeServer, before: str, after: str
) -> None:
    alice, late, never = [await whole.register(name) for name in ("alice", "late", "never")]
    room_id = await create(alice, visibility=before)
    change = await set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": after, "x": 1})
    await set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    await join(late, room_id)

    async def sees(user: Client) -> bool:
        return found(await user.get(in_room(room_id, "event", change)), status=404)

    assert await sees(alice)
    assert await sees(never) == ("world_readable" in (before, after))
    assert await sees(late) == bool({"world_readable", "shared"} & {before, after})


@pytest.mark.parametrize("value", ["nonsense", None, 7, ["joined"]])
async def test_visibility_that_is_none_is_shared(whole: WholeServer, value: object) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, visibility="joined")
    content = {} if value is None else {"history_visibility": value}
    await set_state(alice, room_id, "m.room.history_visibility", content)
    said = await send(alice, room_id, "before Bob came")
    assert not found(await bob.get(in_room(room_id, "event", said)), status=404)
    await join(bob, room_id)
    assert found(await bob.get(in_room(room_id, "event", said)), status=404)


@pytest.mark.parametrize("query", [{}, {"use_state_after": "true"}], ids=str)
@pytest.mark.parametrize("is_new", [False, True])
async def test_sync_tells_of_a_later_ban_but_not_of_the_state_until_then(
    whole: WholeServer, query: dict[str, str], is_new: bool
) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, visibility="shared")
    await join(bob, room_id)
    since = {} if is_new else {"since": (await bob.get("/sync", filter=EVERYTHING)).json["next_batch"]}
    await set_state(alice, room_id, STEP, {"number": 0})
    await leave(bob, room_id)
    await set_state(alice, room_id, STEP, {"number": 1})
    await ask_member(alice, room_id, "ban", bob.user_id)
    section = (await bob.get("/sync", filter=EVERYTHING, **since, **query)).json["rooms"]["leave"][room_id]
    section["state"] = section.get("state") or section["state_after"]
    assert steps_told(section) == {0}
    events = section["state"]["events"] + section["timeline"]["events"]
    own = [event["content"]["membership"] for event in events if event.get("state_key") == bob.user_id]
    assert own[-1] == "ban"
