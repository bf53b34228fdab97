"""Parsing PDUs: types come from the right places, and anything else is Malformed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.hashes import event_id_of
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Malformed, Pdu, parse_pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from tests.matrix.events import (
    ALICE,
    ALL_VERSIONS,
    NOW_MS,
    create_proto,
    event_id_for,
    federation_json,
    json_objects,
    proto,
    room_id_for,
    seal,
    wild_json_values,
)

V1, V10, V11, V12 = (ROOM_VERSIONS[version_id] for version_id in ("1", "10", "11", "12"))


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_pdu_has_the_parts_of_the_event(version: RoomVersion) -> None:
    json = federation_json(version)
    pdu = parse_pdu(json, version)
    assert pdu == Pdu(
        event_id=event_id_of(json, version),
        room_id=room_id_for(version),
        type="m.room.message",
        sender=ALICE,
        state_key=None,
        content={"body": "hello", "msgtype": "m.text"},
        origin_server_ts=NOW_MS,
        depth=7,
        prev_events=(event_id_for(version, "p"),),
        auth_events=(event_id_for(version, "q"), event_id_for(version, "r")),
        redacts=None,
        hashes=json["hashes"],
        signatures=json["signatures"],
        json=json,
    )
    assert not pdu.rejected


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_unsigned_is_left_out_and_all_else_is_kept(version: RoomVersion) -> None:
    json = federation_json(version, origin="one.test", **{"org.example.key": {"a": 1}})
    pdu = parse_pdu({**json, "unsigned": {"age": 1.5}}, version)
    assert pdu.json == json


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_create_event_gives_the_room_its_id_since_v12(version: RoomVersion) -> None:
    pdu = seal(version, create_proto(version))
    if version.id == "12":
        assert pdu.room_id == "!" + pdu.event_id.removeprefix("$")
        assert "room_id" not in pdu.json
    else:
        assert pdu.room_id == pdu.json["room_id"] == "!room:one.test"


def test_known_event_id_is_not_computed_again() -> None:
    json = federation_json(V12)
    assert parse_pdu(json, V12, event_id=EventId("$known")).event_id == "$known"
    assert parse_pdu(federation_json(V1), V1, event_id=EventId("$known")).event_id == "$own:one.test"


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_redacts_is_read_from_the_place_of_its_version(version: RoomVersion) -> None:
    in_content, outside = event_id_for(version, "c"), event_id_for(version, "o")
    json = federation_json(version, type="m.room.redaction", content={"redacts": in_content}, redacts=outside)
    assert parse_pdu(json, version).redacts == (in_content if int(version.id) >= 11 else outside)
    assert parse_pdu({**json, "type": "m.room.message"}, version).redacts is None


@pytest.mark.parametrize("redacts", [..., "no id", 5, None, ["$x"], {}])
def test_redaction_that_names_no_event_has_no_redacts(redacts: Any) -> None:
    content = {} if redacts is ... else {"redacts": redacts}
    assert parse_pdu(federation_json(V11, type="m.room.redaction", content=content), V11).redacts is None


@pytest.mark.parametrize("redacts", [5, None, ["$x"], {}])
def test_redacts_outside_of_the_content_must_be_a_string(redacts: Any) -> None:
    with pytest.raises(Malformed, match="redacts"):
        parse_pdu(federation_json(V10, type="m.room.redaction", redacts=redacts), V10)
    assert parse_pdu(federation_json(V11, type="m.room.redaction", redacts=redacts), V11).redacts is None


@pytest.mark.parametrize("state_key", ["", "@alice:one.test", "m.room.member"])
def test_state_key_makes_a_state_event(state_key: str) -> None:
    assert seal(V12, proto(V12, state_key=state_key)).state_key == state_key


def test_pdu_is_a_value() -> None:
    pdu = seal(V12, proto(V12))
    with pytest.raises(FrozenInstanceError):
        pdu.depth = 3  # type: ignore[misc]
    again = parse_pdu(pdu.json, V12)
    assert {pdu, again} == {again}
    assert pdu != replace(pdu, rejected=True)


@given(st.sampled_from(ALL_VERSIONS), wild_json_values)
def test_any_json_is_a_pdu_or_malformed(version: RoomVersion, value: Any) -> None:
    with pytest.raises(Malformed) as raised:
        parse_pdu(value, version)
    assert str(raised.value)


KEYS = sorted({*federation_json(V1), "redacts", "state_key", "unsigned", "origin", "prev_state", "membership"})


@given(
    version=st.sampled_from(ALL_VERSIONS),
    changes=st.dictionaries(st.sampled_from(KEYS), wild_json_values | st.just(...), min_size=1, max_size=3),
    event_type=st.sampled_from(["m.room.message", "m.room.redaction", "m.room.create", "m.room.member"]),
)
def test_any_broken_event_is_a_pdu_or_malformed(version: RoomVersion, changes: dict[str, Any], event_type: str) -> None:
    json = federation_json(version, **{"type": event_type, **changes})
    with suppress(Malformed):
        pdu = parse_pdu(json, version)
        assert {**pdu.json, "unsigned": None} == {**json, "unsigned": None}
        assert all(isinstance(event_id, str) for event_id in pdu.prev_events + pdu.auth_events)


@given(st.sampled_from(ALL_VERSIONS), json_objects, json_objects)
def test_any_content_and_foreign_keys_are_kept(
    version: RoomVersion, content: dict[str, Any], foreign: dict[str, Any]
) -> None:
    extra = {f"org.example.{key}": value for key, value in foreign.items()}
    json = federation_json(version, content=content, **extra)
    pdu = parse_pdu(json, version)
    assert pdu.content == content
    assert pdu.json == json
