from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.ids import UserId
from conduit_py.matrix.stripped_state import (
    STRIPPED_EVENTS_MAX,
    build_stripped_state,
    find_create_event,
    strip_event,
    stripped_state_keys,
)
from tests.matrix.test_filters import JSON

ALICE, BOB = UserId("@alice:one.test"), UserId("@bob:two.test")


def state(event_type: str, state_key: str = "", **content: Any) -> dict[str, Any]:
    return {"type": event_type, "state_key": state_key, "sender": ALICE, "content": content}


def whole(event: dict[str, Any]) -> dict[str, Any]:
    """The event as it travels between servers."""
    return {**event, "event_id": "$x", "origin_server_ts": 1, "signatures": {}, "unsigned": {"age": 1}, "depth": 1}


def test_stripped_state_keys_are_those_of_the_spec_and_the_inviter() -> None:
    room = {"create", "name", "avatar", "topic", "join_rules", "canonical_alias", "encryption"}
    assert set(stripped_state_keys(None)) == {(f"m.room.{name}", "") for name in room}
    assert set(stripped_state_keys(ALICE)) == {*stripped_state_keys(None), ("m.room.member", ALICE)}
    assert stripped_state_keys(ALICE)[0] == ("m.room.create", "")


def test_strip_event_keeps_four_properties() -> None:
    assert strip_event(whole(state("m.room.name", name="Club"))) == state("m.room.name", name="Club")


@pytest.mark.parametrize("missing", ["type", "state_key", "sender", "content"])
def test_strip_event_refuses_events_without_all_four(missing: str) -> None:
    event = state("m.room.name")
    del event[missing]
    assert strip_event(event) is None
    assert strip_event({**event, missing: 1}) is None


def test_build_stripped_state_strips_and_ends_with_the_member_event() -> None:
    invite = state("m.room.member", BOB, membership="invite")
    create, name = state("m.room.create", room_version="11"), state("m.room.name", name="Club")
    assert build_stripped_state([whole(create), whole(name)], whole(invite)) == [create, name, invite]


def test_build_stripped_state_believes_the_member_event_over_what_is_claimed() -> None:
    claimed = state("m.room.member", BOB, membership="join")
    invite = state("m.room.member", BOB, membership="invite")
    assert build_stripped_state([claimed], invite) == [invite]


def test_build_stripped_state_takes_the_first_of_two_for_the_same_state() -> None:
    first, second = state("m.room.name", name="a"), state("m.room.name", name="b")
    assert build_stripped_state([first, second]) == [first]


def test_build_stripped_state_stops_at_a_bound() -> None:
    invite = state("m.room.member", BOB, membership="invite")
    events = [state("x", str(number)) for number in range(1000)]
    built = build_stripped_state(events, invite)
    assert len(built) == STRIPPED_EVENTS_MAX
    assert built[-1] == invite


EVENTS = st.fixed_dictionaries({"type": JSON, "state_key": JSON, "sender": JSON, "content": JSON})


@given(JSON | st.lists(JSON | EVENTS))
def test_any_json_from_another_server_becomes_stripped_events(events: Any) -> None:
    for event in build_stripped_state(events):
        assert list(event) == ["type", "state_key", "sender", "content"]
    find_create_event(events)


def test_find_create_event_looks_for_the_state_event() -> None:
    create = whole(state("m.room.create"))
    assert find_create_event([state("m.room.name"), create]) is create
    assert find_create_event([state("m.room.create", "x"), 1, None]) is None
    assert find_create_event({}) is None
