from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.filters import (
    ENTRIES_MAX,
    EVENT_FIELDS_MAX,
    NO_FILTER,
    NO_ROOM_EVENT_FILTER,
    TYPE_GLOBS_MAX,
    EventFilter,
    InvalidFilter,
    RoomEventFilter,
    SyncFilter,
    parse_room_event_filter,
    parse_sync_filter,
    project,
)
from conduit_py.matrix.property_path import parse_path

ALICE, BOB = "@alice:one.test", "@bob:two.test"
ROOM, OTHER = "!room:one.test", "!other:one.test"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
EVENT_FILTERS = st.fixed_dictionaries(
    {}, optional={"limit": JSON, "types": JSON, "not_senders": JSON, "contains_url": JSON, "rooms": JSON}
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "event_fields": JSON,
        "event_format": JSON,
        "presence": EVENT_FILTERS | JSON,
        "room": st.fixed_dictionaries({}, optional={"timeline": EVENT_FILTERS | JSON, "rooms": JSON}) | JSON,
    },
)

FROM_THE_SPEC = {
    "room": {
        "state": {"types": ["m.room.*"], "not_rooms": ["!726s6s6q:example.com"]},
        "timeline": {
            "limit": 10,
            "types": ["m.room.message"],
            "not_rooms": ["!726s6s6q:example.com"],
            "not_senders": ["@spam:example.com"],
        },
        "ephemeral": {"types": ["m.receipt", "m.typing"]},
    },
    "presence": {"types": ["m.presence"], "not_senders": ["@alice:example.com"]},
    "event_format": "client",
    "event_fields": ["type", "content", "sender"],
}


@given(FILTERS | JSON)
def test_parse_sync_filter_accepts_or_refuses_any_json(value: Any) -> None:
    answer: object
    try:
        answer = parse_sync_filter(value)
    except InvalidFilter as error:
        answer = error
    assert isinstance(answer, SyncFilter | InvalidFilter)


def test_parse_sync_filter_reads_the_example_of_the_spec() -> None:
    parsed = parse_sync_filter(FROM_THE_SPEC)
    assert parsed.room.state.matches_event("m.room.name", ALICE, has_url=False)
    assert not parsed.room.state.matches_event("m.call.invite", ALICE, has_url=False)
    assert not parsed.room.state.matches_room("!726s6s6q:example.com")
    assert not parsed.room.timeline.matches_event("m.room.message", "@spam:example.com", has_url=False)
    assert parsed.room.timeline.limit_or(20, maximum=100) == 10
    assert parsed.presence.matches("m.presence", BOB)
    assert not parsed.presence.matches("m.presence", "@alice:example.com")
    assert parsed.project({"type": "a", "sender": ALICE, "unsigned": {}}) == {"type": "a", "sender": ALICE}


@pytest.mark.parametrize("value", [{}, {"room": {}}, {"room": {"timeline": {}}, "presence": {}}, {"unknown": 1}])
def test_empty_filter_passes_all(value: dict[str, Any]) -> None:
    parsed = parse_sync_filter(value)
    assert parsed == NO_FILTER
    assert parsed.room.timeline.passes_all
    assert parsed.presence.passes_all


@pytest.mark.parametrize(
    ("value", "passes_all"),
    [
        ({"limit": 5, "lazy_load_members": True, "unread_thread_notifications": True}, True),
        ({"not_types": [], "not_senders": [], "not_rooms": []}, True),
        ({"types": []}, False),
        ({"senders": []}, False),
        ({"rooms": []}, False),
        ({"not_types": ["a"]}, False),
        ({"not_senders": [ALICE]}, False),
        ({"not_rooms": [ROOM]}, False),
        ({"contains_url": False}, False),
        ({"related_by_rel_types": ["m.thread"]}, False),
        ({"related_by_senders": [ALICE]}, False),
    ],
)
def test_passes_all_is_set_without_conditions_only(value: dict[str, Any], passes_all: bool) -> None:
    assert parse_room_event_filter(value).passes_all is passes_all


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ([], ""),
        ({"event_format": "raw"}, "event_format"),
        ({"event_fields": "type"}, "event_fields"),
        ({"event_fields": ["x"] * (EVENT_FIELDS_MAX + 1)}, "event_fields"),
        ({"presence": None}, "presence"),
        ({"presence": {"limit": -1}}, "presence.limit"),
        ({"presence": {"limit": True}}, "presence.limit"),
        ({"presence": {"limit": "5"}}, "presence.limit"),
        ({"account_data": {"types": "m.*"}}, "account_data.types"),
        ({"account_data": {"types": ["a", 1]}}, "account_data.types[1]"),
        ({"account_data": {"types": ["a*"] * (TYPE_GLOBS_MAX + 1)}}, "account_data.types"),
        ({"account_data": {"not_types": ["a"] * (ENTRIES_MAX + 1)}}, "account_data.not_types"),
        ({"room": 1}, "room"),
        ({"room": {"rooms": ["room"]}}, "room.rooms[0]"),
        ({"room": {"include_leave": 1}}, "room.include_leave"),
        ({"room": {"timeline": {"senders": ["alice"]}}}, "room.timeline.senders[0]"),
        ({"room": {"state": {"lazy_load_members": "yes"}}}, "room.state.lazy_load_members"),
        ({"room": {"state": {"contains_url": None}}}, "room.state.contains_url"),
    ],
)
def test_parse_sync_filter_names_the_field_that_is_wrong(value: Any, field: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_sync_filter(value)
    assert caught.value.field == field
    assert caught.value.errcode == "M_BAD_JSON"
    assert str(caught.value).startswith(field or "the filter must")


@pytest.mark.parametrize(
    ("value", "event_type", "matches"),
    [
        ({"types": ["m.room.*"]}, "m.room.name", True),
        ({"types": ["m.room.*"]}, "m.call", False),
        ({"types": ["*.name"]}, "m.room.name", True),
        ({"types": ["m.*.name", "x"]}, "m.room.name", True),
        ({"types": ["m.room.nam?"]}, "m.room.name", False),
        ({"types": ["m.room.nam?"]}, "m.room.nam?", True),
        ({"types": ["M.ROOM.*"]}, "m.room.name", False),
        ({"types": []}, "m.room.name", False),
        ({"types": ["m.room.*"], "not_types": ["m.room.name"]}, "m.room.name", False),
        ({"types": ["m.room.name"], "not_types": ["*"]}, "m.room.name", False),
        ({"not_types": ["m.room.*"]}, "m.call", True),
    ],
)
def test_types(value: dict[str, Any], event_type: str, matches: bool) -> None:
    parsed = parse_room_event_filter(value)
    assert parsed.matches_type(event_type) is matches
    assert parsed.matches(event_type, ALICE) is matches
    assert parsed.matches_event(event_type, ALICE, has_url=True) is matches


@pytest.mark.parametrize(
    ("value", "matches"),
    [
        ({"senders": [ALICE]}, True),
        ({"senders": [BOB]}, False),
        ({"senders": []}, False),
        ({"not_senders": [ALICE]}, False),
        ({"senders": [ALICE], "not_senders": [ALICE]}, False),
    ],
)
def test_senders(value: dict[str, Any], matches: bool) -> None:
    assert parse_room_event_filter(value).matches_event("x", ALICE, has_url=False) is matches


@pytest.mark.parametrize("parse", [parse_room_event_filter, lambda value: parse_sync_filter({"room": value}).room])
@pytest.mark.parametrize(
    ("value", "rooms"),
    [
        ({}, [ROOM, OTHER]),
        ({"rooms": [ROOM]}, [ROOM]),
        ({"not_rooms": [ROOM]}, [OTHER]),
        ({"rooms": [ROOM], "not_rooms": [ROOM]}, []),
        ({"rooms": []}, []),
    ],
)
def test_rooms(parse: Any, value: dict[str, Any], rooms: list[str]) -> None:
    parsed = parse(value)
    assert [room for room in (ROOM, OTHER) if parsed.matches_room(room)] == rooms


@pytest.mark.parametrize(("contains_url", "wanted"), [(None, [True, False]), (True, [True]), (False, [False])], ids=str)
def test_contains_url(contains_url: bool | None, wanted: list[bool]) -> None:
    parsed = RoomEventFilter(contains_url=contains_url)
    assert [has_url for has_url in (True, False) if parsed.matches_event("x", ALICE, has_url=has_url)] == wanted


@pytest.mark.parametrize(
    ("value", "matches"),
    [
        ({}, True),
        ({"related_by_rel_types": ["m.thread"]}, True),
        ({"related_by_senders": [BOB]}, True),
        ({"related_by_rel_types": ["m.thread"], "related_by_senders": [ALICE]}, True),
        ({"related_by_rel_types": ["m.thread"], "related_by_senders": [BOB]}, False),
        ({"related_by_rel_types": ["m.replace"]}, False),
        ({"related_by_senders": []}, False),
    ],
)
def test_related_by(value: dict[str, Any], matches: bool) -> None:
    related_by = [("m.thread", ALICE), ("m.reference", BOB)]
    assert parse_room_event_filter(value).matches_relations(related_by) is matches


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, 20), (5, 5), (0, 0), (500, 100)], ids=["default", "asked", "none", "capped"]
)
def test_limit_or(limit: int | None, expected: int) -> None:
    assert EventFilter(limit=limit).limit_or(20, maximum=100) == expected


def test_flags_default_to_false() -> None:
    assert not NO_ROOM_EVENT_FILTER.lazy_load_members
    assert not NO_ROOM_EVENT_FILTER.include_redundant_members
    assert not NO_ROOM_EVENT_FILTER.unread_thread_notifications
    assert not NO_FILTER.room.include_leave
    flags = {"lazy_load_members": True, "include_redundant_members": True, "unread_thread_notifications": True}
    parsed = parse_room_event_filter(flags)
    assert parsed.lazy_load_members
    assert parsed.include_redundant_members
    assert parsed.unread_thread_notifications
    assert parse_sync_filter({"room": {"include_leave": True}}).room.include_leave
    assert parse_sync_filter({"event_format": "federation"}).event_format == "federation"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["type"], {"type": "t"}),
        (["content.body"], {"content": {"body": "b"}}),
        ([r"content.m\.relates_to.rel_type"], {"content": {"m.relates_to": {"rel_type": "r"}}}),
        (["content.m.relates_to"], {}),
        (["content.body", "content.missing", "missing.x"], {"content": {"body": "b"}}),
        (["content.body", "content"], {"content": {"body": "b", "m.relates_to": {"rel_type": "r"}}}),
        (["type.x"], {}),
    ],
)
def test_project_keeps_the_fields_asked_for(fields: list[str], expected: dict[str, Any]) -> None:
    event = {"type": "t", "content": {"body": "b", "m.relates_to": {"rel_type": "r"}}}
    before = repr(event)
    assert project(event, [parse_path(text) for text in fields]) == expected
    assert repr(event) == before


def test_project_gives_the_event_itself_when_no_fields_are_named() -> None:
    event = {"type": "t"}
    assert NO_FILTER.project(event) is event
    assert parse_sync_filter({"event_fields": []}).project(event) is event
