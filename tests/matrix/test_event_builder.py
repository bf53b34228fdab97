"""Events of our own: in the version's format, sealed, and accepted by our own checks."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.event_builder import build_event, sign_and_hash
from conduit_py.matrix.event_format import TooLarge, check_event_format
from conduit_py.matrix.hashes import content_hash_matches, encode_base64, event_id_of
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Malformed, parse_pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.matrix.signing import verify_event_signatures
from tests.matrix.events import (
    ALICE,
    ALL_VERSIONS,
    KEY,
    NOW_MS,
    ONE,
    create_proto,
    event_id_for,
    json_objects,
    json_values,
    proto,
    room_id_for,
    seal,
    verify_key,
)

V1, V10, V11, V12 = (ROOM_VERSIONS[version_id] for version_id in ("1", "10", "11", "12"))
KEYS = {ONE: {KEY.key_id: verify_key(KEY)}}

every_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")


@given(
    version=st.sampled_from(ALL_VERSIONS),
    content=json_objects,
    state_key=st.none() | st.text(max_size=60),
    event_type=st.text(max_size=60).filter(lambda text: text != "m.room.create"),
    depth=st.integers(0, 2**64),
)
def test_built_event_passes_our_own_checks(
    version: RoomVersion, content: dict[str, Any], state_key: str | None, event_type: str, depth: int
) -> None:
    pdu = seal(version, proto(version, content=content, state_key=state_key, type=event_type, depth=depth))
    check_event_format(pdu.json, version)
    verify_event_signatures(pdu.json, version, KEYS)
    assert content_hash_matches(pdu.json, version)
    assert pdu.event_id == event_id_of(pdu.json, version)
    assert parse_pdu(pdu.json, version) == pdu
    assert (pdu.content, pdu.state_key, pdu.type) == (content, state_key, event_type)
    assert pdu.depth == min(depth, version.event_format.depth_max)


@every_version
def test_create_event_passes_our_own_checks(version: RoomVersion) -> None:
    pdu = seal(version, create_proto(version))
    verify_event_signatures(pdu.json, version, KEYS)
    assert (pdu.prev_events, pdu.auth_events, pdu.state_key) == ((), (), "")


def test_proto_has_no_more_than_the_format_asks_for() -> None:
    assert proto(V12, state_key="k") == {
        "type": "m.room.message",
        "room_id": room_id_for(V12),
        "sender": ALICE,
        "state_key": "k",
        "content": {"body": "hello", "msgtype": "m.text"},
        "prev_events": [event_id_for(V12, "p")],
        "auth_events": [event_id_for(V12, "q"), event_id_for(V12, "r")],
        "depth": 7,
        "origin_server_ts": NOW_MS,
    }
    assert set(seal(V12, proto(V12)).json) - set(proto(V12)) == {"hashes", "signatures"}


def test_references_carry_hashes_in_v1() -> None:
    known, unknown = event_id_for(V1, "k"), event_id_for(V1, "u")
    event = proto(V1, prev_events=[known, unknown], reference_hashes={known: b"hash"})
    assert event["prev_events"] == [[known, {"sha256": encode_base64(b"hash")}], [unknown, {}]]
    assert seal(V1, event).prev_events == (known, unknown)


@every_version
def test_redacts_is_put_in_the_place_of_its_version(version: RoomVersion) -> None:
    redacts, content = event_id_for(version, "z"), {"reason": "spam"}
    event = proto(version, type="m.room.redaction", content=content, redacts=redacts)
    assert seal(version, event).redacts == redacts
    assert ("redacts" in event, "redacts" in event["content"]) == ((True, False), (False, True))[int(version.id) >= 11]
    assert content == {"reason": "spam"}


@every_version
def test_room_id_is_missing_exactly_for_the_create_event_of_v12(version: RoomVersion) -> None:
    wrong = room_id_for(version) if version.id == "12" else None
    with pytest.raises(ValueError, match="room_id"):
        proto(version, type="m.room.create", room_id=wrong)
    with pytest.raises(ValueError, match="room_id"):
        proto(version, room_id=None)


@every_version
def test_event_id_is_passed_in_exactly_where_it_is_random(version: RoomVersion) -> None:
    wrong = None if version.id in ("1", "2") else EventId("$x:one.test")
    with pytest.raises(ValueError, match="event_id"):
        sign_and_hash(proto(version), version, ONE, KEY, event_id=wrong)


@pytest.mark.parametrize(
    "changes",
    [{"content": {"body": "x" * 65536}}, {"state_key": "x" * 256}, {"type": "ä" * 128}],
)
def test_event_that_breaks_a_size_limit_is_too_large(changes: dict[str, Any]) -> None:
    with pytest.raises(TooLarge):
        seal(V12, proto(V12, **changes))


@pytest.mark.parametrize("number", [0.5, 2**53])
def test_content_that_is_not_canonical_is_malformed_but_not_too_large(number: float) -> None:
    with pytest.raises(Malformed) as raised:
        seal(V12, proto(V12, content={"a": number}))
    assert not isinstance(raised.value, TooLarge)


def test_template_of_another_server_is_sealed_afresh() -> None:
    template = {
        **proto(V11),
        "event_id": "$theirs",
        "signatures": {"two.test": "junk"},
        "hashes": "junk",
        "unsigned": {"age": 1},
        "origin": "two.test",
    }
    pdu = seal(V11, template)
    assert set(pdu.signatures) == {ONE}
    assert set(pdu.json) - set(proto(V11)) == {"hashes", "signatures", "origin"}


@given(st.sampled_from([V1, V10, V12]), json_objects, st.sampled_from(sorted(proto(V1))), json_values)
def test_any_template_is_sealed_or_malformed(
    version: RoomVersion, template: dict[str, Any], key: str, value: Any
) -> None:
    for event in (template, {**proto(version), key: value}):
        with suppress(Malformed):
            pdu = seal(version, event)
            assert ONE in pdu.signatures
            assert content_hash_matches(pdu.json, version)


def test_building_leaves_its_arguments_as_they_were() -> None:
    content: dict[str, Any] = {"body": "hello"}
    event = build_event(
        room_version=V12,
        room_id=room_id_for(V12),
        type="m.room.redaction",
        sender=ALICE,
        state_key=None,
        content=content,
        prev_events=(),
        auth_events=(),
        depth=1,
        origin_server_ts=NOW_MS,
        redacts=event_id_for(V12),
    )
    before = repr(event)
    seal(V12, event)
    assert content == {"body": "hello"}
    assert repr(event) == before
