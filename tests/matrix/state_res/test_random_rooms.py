"""Small rooms that fork and merge at random, with the reference as the judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit_py.matrix.auth import check_event, select_auth_types
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.matrix.state_res import StateKey, resolve, resolve_conflict, separate
from tests.matrix.state_res.reference import Reference
from tests.matrix.state_res.scenario import build_event

USERS = ["alice", "bob", "carol", "dave"]
State = dict[StateKey, EventId]


def user_id(user: str) -> str:
    return f"@{user}:test"


@dataclass
class Room:
    room_version: RoomVersion
    events: dict[EventId, Pdu] = field(default_factory=dict)

    def add(self, state: State, depth: int, **short: Any) -> Pdu:
        """An event on top of ``state``, with the auth events that it has there."""
        name = f"E{len(self.events):02}" if self.events else "CREATE"
        event = build_event(self.room_version, {"id": name, "depth": depth, "auth": [], **short})
        keys = select_auth_types(
            self.room_version, type=event.type, sender=event.sender, state_key=event.state_key, content=event.content
        )
        event = replace(event, auth_events=tuple(state[key] for key in keys if key in state))
        self.events[event.event_id] = event
        return event

    def is_allowed(self, event: Pdu, state: State) -> bool:
        def get_state(type: str, state_key: str) -> Pdu | None:
            event_id = state.get((type, state_key))
            return None if event_id is None else self.events[event_id]

        return check_event(self.room_version, event, get_state) is None

    def apply(self, state: State, event: Pdu) -> State:
        assert event.state_key is not None
        return {**state, (event.type, event.state_key): event.event_id}

    def depth_of(self, event_id: EventId) -> int:
        return self.events[event_id].depth

    def auth_events_of(self, event_id: EventId) -> Sequence[EventId]:
        return self.events[event_id].auth_events if event_id in self.events else ()


levels = st.sampled_from([0, 50, 100])
contents: dict[str, st.SearchStrategy[Any]] = {
    "m.room.power_levels": st.fixed_dictionaries(
        {"users": st.dictionaries(st.sampled_from([user_id(user) for user in USERS]), levels, max_size=4)},
        optional={"events_default": levels, "state_default": levels, "invite": levels},
    ),
    "m.room.join_rules": st.fixed_dictionaries({"join_rule": st.sampled_from(["public", "invite", "knock"])}),
    "m.room.topic": st.just({"topic": "x"}),
    "m.room.name": st.just({"name": "x"}),
    "m.room.member": st.fixed_dictionaries({"membership": st.sampled_from(["join", "leave", "ban", "invite"])}),
}


def start(room: Room) -> tuple[State, int]:
    """Alice has created the room, everybody else has joined it."""
    users = {user_id("bob"): 100, user_id("carol"): 50}
    if not room.room_version.auth.privileged_creators:
        users[user_id("alice")] = 100
    state: State = {}
    steps: list[dict[str, Any]] = [
        {"type": "m.room.create", "content": {"creator": user_id("alice")}, "prev": []},
        {"type": "m.room.member", "state_key": user_id("alice"), "content": {"membership": "join"}, "prev": ["CREATE"]},
        {"type": "m.room.power_levels", "content": {"users": users}},
        {"type": "m.room.join_rules", "content": {"join_rule": "public"}},
        *(
            {"type": "m.room.member", "sender": user, "state_key": user_id(user), "content": {"membership": "join"}}
            for user in USERS[1:]
        ),
    ]
    for depth, step in enumerate(steps, start=1):
        event = room.add(state, depth, **{"sender": "alice", "ts": depth, **step})
        assert room.is_allowed(event, state)
        state = room.apply(state, event)
    return state, len(steps)


@st.composite
def forked_rooms(draw: st.DrawFn, version: str) -> tuple[Room, list[State]]:
    room = Room(ROOM_VERSIONS[version])
    state, depth = start(room)
    branches = [state] * draw(st.integers(2, 4))
    for _ in range(draw(st.integers(1, 14))):
        depth += 1
        index = draw(st.integers(0, len(branches) - 1))
        state = branches[index]
        sender = draw(st.sampled_from(USERS))
        event_type = draw(st.sampled_from(list(contents)))
        event = room.add(
            state,
            depth,
            type=event_type,
            sender=sender,
            state_key=user_id(draw(st.sampled_from([sender, *USERS]))) if event_type == "m.room.member" else "",
            content=draw(contents[event_type]),
            ts=draw(st.integers(10, 14)),
        )
        # Now and then a server has wrongly let something into the state, or merged states in its own way.
        if room.is_allowed(event, state):
            branches[index] = room.apply(state, event)
        elif draw(st.integers(0, 3)) == 0:
            room.events[event.event_id] = replace(event, rejected=draw(st.booleans()))
            branches[index] = room.apply(state, event)
        if draw(st.integers(0, 5)) == 0:
            branches[index] = {**branches[index], **branches[draw(st.integers(0, len(branches) - 1))]}
    for _ in range(draw(st.integers(0, 2))):
        lost = draw(st.sampled_from([None, *branches[0]]))
        branches = [{key: state[key] for key in state if key != lost} for state in branches[:1]] + branches[1:]
    return room, branches


VERSIONS_2 = ["2", "11", "12"]


@pytest.mark.parametrize("version", ["1", *VERSIONS_2])
@given(data=st.data())
def test_resolution_ignores_order_and_repetition_of_states(version: str, data: st.DataObject) -> None:
    room, states = data.draw(forked_rooms(version))
    resolved = resolve(room.room_version, states, get_event=room.events.get)
    shuffled = [*data.draw(st.permutations(states)), data.draw(st.sampled_from(states))]
    reordered = [dict(data.draw(st.permutations(list(state.items())))) for state in shuffled]
    assert resolve(room.room_version, reordered, get_event=room.events.get) == resolved


@pytest.mark.parametrize("version", VERSIONS_2)
@settings(max_examples=200)
@given(data=st.data())
def test_resolution_is_that_of_the_definitions(version: str, data: st.DataObject) -> None:
    room, states = data.draw(forked_rooms(version))
    expected = Reference(room.room_version, room.events).resolve(states)
    note(f"{len(separate(states)[1])} different states")
    assert resolve(room.room_version, states, get_event=room.events.get) == expected
    stopping_early = resolve(
        room.room_version,
        states,
        get_event=room.events.get,
        get_auth_events=room.auth_events_of,
        get_order=room.depth_of,
    )
    assert stopping_early == expected


@pytest.mark.parametrize("version", VERSIONS_2)
@given(data=st.data())
def test_resolution_without_order_does_not_trust_depth(version: str, data: st.DataObject) -> None:
    room, states = data.draw(forked_rooms(version))
    expected = Reference(room.room_version, room.events).resolve(states)
    lying = {
        event_id: replace(event, depth=data.draw(st.integers(0, 9), label="depth"))
        for event_id, event in room.events.items()
    }
    assert resolve(room.room_version, states, get_event=lying.get) == expected


@pytest.mark.parametrize("version", ["1", *VERSIONS_2])
@given(data=st.data())
def test_resolution_survives_missing_events(version: str, data: st.DataObject) -> None:
    room, states = data.draw(forked_rooms(version))
    kept = data.draw(st.sets(st.sampled_from(list(room.events))))
    known = {event_id: event for event_id, event in room.events.items() if event_id in kept}
    resolved = resolve(room.room_version, states, get_event=known.get)
    assert resolve(room.room_version, states[::-1], get_event=known.get) == resolved
    unconflicted, _ = separate(states)
    assert resolved.items() >= unconflicted.items()
    assert {event_id for key, event_id in resolved.items() if key not in unconflicted} <= set(known)
    if version != "1":
        assert Reference(room.room_version, known).resolve(states) == resolved


@pytest.mark.parametrize("version", ["1", *VERSIONS_2])
@given(data=st.data())
def test_conflict_alone_gives_what_the_states_do_not_agree_on(version: str, data: st.DataObject) -> None:
    room, states = data.draw(forked_rooms(version))
    unconflicted, conflicted = separate(states)
    added = resolve_conflict(room.room_version, unconflicted, conflicted, get_event=room.events.get)
    assert not added.keys() & unconflicted.keys()
    assert {**unconflicted, **added} == resolve(room.room_version, states, get_event=room.events.get)
