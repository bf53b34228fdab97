"""What the server tells of relations is what a client makes of the events that it sees.

Histories are random: three people send, relate, edit, react and redact, and one of them may leave. For each of them
the events of the timeline are aggregated here as the spec says, and compared with what every operation tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from conduit_py.data.consistency.relating import (
    check_alike,
    check_bundled,
    check_relations,
    check_thread_counts,
    check_threads,
)
from kvschema.engine.memory import MemoryEngine
from tests.rig.client import Client
from tests.rig.relating import ask_threads, children, ids, ignore, relation, send_event
from tests.rig.rooms import Json, RoomServer, create, in_room, join, with_rooms
from tests.rig.server import load_test_config, open_server

KINDS = ("m.replace", "m.annotation", "m.thread", "m.reference", "org.example.other")
NAMES = ("alice", "bob", "carol")

steps = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(NAMES)),
    st.tuples(st.just("relate"), st.sampled_from(NAMES), st.sampled_from(KINDS), st.integers(0, 30)),
    st.tuples(st.just("relate"), st.sampled_from(NAMES), st.sampled_from(KINDS), st.integers(0, 3)),
    st.tuples(st.just("redact"), st.integers(0, 6)),
    st.tuples(st.just("carol leaves")),
)


@dataclass
class Story:
    users: Mapping[str, Client]
    room_id: str
    sent: list[tuple[Client, str]] = field(default_factory=list)

    async def act(self, step: Any) -> None:
        """What the server refuses is not sent."""
        match step:
            case ("send", name):
                self._sent(name, await self._try(name, {"body": "message", "msgtype": "m.text"}))
            case ("relate", name, kind, number) if self.sent:
                _, parent = self.sent[number % len(self.sent)]
                new = {"m.new_content": {"body": "new", "msgtype": "m.text"}} if kind == "m.replace" else {}
                content = {"body": "child", "msgtype": "m.text", **new, **relation(kind, parent, key=str(number % 2))}
                self._sent(name, await self._try(name, content))
            case ("redact", number) if self.sent:
                sender, event_id = self.sent[number % len(self.sent)]
                await sender.put(in_room(self.room_id, "redact", event_id, f"redact {event_id}"), {})
            case ("carol leaves",):
                await self.users["carol"].post(in_room(self.room_id, "leave"), {})

    async def _try(self, name: str, content: Json) -> str | None:
        response = await send_event(self.users[name], self.room_id, "m.room.message", content)
        event_id: str | None = response.json.get("event_id")
        return event_id

    def _sent(self, name: str, event_id: str | None) -> None:
        if event_id is not None:
            self.sent.append((self.users[name], event_id))


class Aggregated:
    """What a client makes of the events that it sees. They come in the order of the timeline."""

    def __init__(self, user: Client, events: list[Json]) -> None:
        self._user = user
        self._events = events
        self._by_id = {event["event_id"]: event for event in events}

    def children(self, event_id: str, *kinds: str) -> list[Json]:
        return [event for event in self._events if _parent(event) in [(kind, event_id) for kind in kinds or KINDS]]

    def relations(self, event: Json) -> Json:
        """What should be bundled, with event ids in place of whole events."""
        if "state_key" in event:
            return {}
        told: Json = {}
        replacement = self._replacement(event)
        if replacement is not None:
            told["m.replace"] = replacement
        thread = self.children(event["event_id"], "m.thread")
        if thread and _parent(event) is None:
            senders = {event["sender"], *(reply["sender"] for reply in thread)}
            told["m.thread"] = (thread[-1]["event_id"], len(thread), self._user.user_id in senders)
        references = ids(self.children(event["event_id"], "m.reference"))
        if references:
            told["m.reference"] = references
        return told

    def _replacement(self, event: Json) -> str | None:
        if "redacted_because" in event["unsigned"] or (_parent(event) or "")[0:1] == ("m.replace",):
            return None
        edits = self.children(event["event_id"], "m.replace")
        valid = [edit for edit in edits if edit["sender"] == event["sender"] and "m.new_content" in edit["content"]]
        latest = max(valid, key=lambda edit: (edit["origin_server_ts"], edit["event_id"]), default=None)
        return None if latest is None else latest["event_id"]

    def threads(self) -> list[str]:
        latest = {event["event_id"]: self.relations(event).get("m.thread") for event in self._events}
        order = {event_id: place for place, event_id in enumerate(self._by_id)}
        found = {root: order[thread[0]] for root, thread in latest.items() if thread is not None}
        return sorted(found, key=lambda root: found[root], reverse=True)


def _parent(event: Json) -> tuple[str, str] | None:
    relates_to = event["content"].get("m.relates_to", {})
    return (relates_to["rel_type"], relates_to["event_id"]) if relates_to else None


def _told(event: Json) -> Json:
    """What the server bundled, in the form of ``Aggregated.relations``."""
    relations = event["unsigned"].get("m.relations", {})
    told: Json = {}
    if "m.replace" in relations:
        told["m.replace"] = relations["m.replace"]["event_id"]
    if "m.thread" in relations:
        thread = relations["m.thread"]
        told["m.thread"] = (thread["latest_event"]["event_id"], thread["count"], thread["current_user_participated"])
    if "m.reference" in relations:
        told["m.reference"] = ids(relations["m.reference"]["chunk"])
    assert told.keys() == relations.keys()
    return told


async def _compare(user: Client, room_id: str, *, ignores: bool, has_left: bool) -> None:
    events = (await user.get(in_room(room_id, "messages"), dir="f", limit="1000")).json["chunk"]
    aggregated = Aggregated(user, events)
    for event in events:
        assert _told(event) == aggregated.relations(event)
        expected = ids(aggregated.children(event["event_id"]))
        assert await children(user, room_id, event["event_id"], dir="f", limit="1000") == expected
    roots = ids((await ask_threads(user, room_id, limit="100")).json["chunk"])
    if ignores:  # Threads that ignored users began are told of, and are not in the timeline.
        assert set(aggregated.threads()) <= set(roots)
    elif has_left:  # What happened since is in the order, and nowhere else.
        assert sorted(aggregated.threads()) == sorted(roots)
    else:
        assert aggregated.threads() == roots


async def _tell(story_steps: list[Any], clock: MockClock, *, ignores: bool) -> None:
    async with open_server(MemoryEngine(), load_test_config()) as server:
        rooms: RoomServer = await with_rooms(server)
        users = {name: await rooms.register(name) for name in NAMES}
        room_id = await create(users["alice"])
        for name in NAMES[1:]:
            await join(users[name], room_id)
        story = Story(users, room_id)
        for step in story_steps:
            # Events that are sent at the same time are part of the story.
            clock.jump(float(step[0] != "relate"))
            await story.act(step)
        if ignores:
            await ignore(users["bob"], users["alice"])
            await ignore(users["carol"], users["bob"], users["carol"])
        for name in NAMES:
            has_left = name == "carol" and ("carol leaves",) in story_steps
            await _compare(users[name], room_id, ignores=ignores and name != "alice", has_left=has_left)
        with server.store.snapshot() as snapshot:
            for check in (check_relations, check_alike, check_bundled, check_thread_counts, check_threads):
                assert list(check(snapshot)) == []


def _run(story_steps: list[Any], *, ignores: bool) -> None:
    clock = MockClock()
    trio.run(lambda: _tell(story_steps, clock, ignores=ignores), clock=clock)


stories = st.lists(steps, min_size=10, max_size=50)


@settings(max_examples=30)
@given(stories)
def test_what_is_told_is_what_a_client_makes_of_the_events(story_steps: list[Any]) -> None:
    _run(story_steps, ignores=False)


@settings(max_examples=30)
@given(stories)
def test_what_is_told_to_who_ignores_others_is_made_of_what_is_left(story_steps: list[Any]) -> None:
    _run(story_steps, ignores=True)
