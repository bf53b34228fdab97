"""Redaction: what every room version keeps, and that keeping less never changes ID or signature."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.hashes import content_hash_matches, event_id_of
from conduit_py.matrix.pdu import parse_pdu
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.matrix.signing import verify_event_signatures
from tests.matrix.events import ALL_VERSIONS, KEY, ONE, json_objects, json_values, proto, seal, verify_key

ALWAYS_KEPT = {
    "event_id",
    "type",
    "room_id",
    "sender",
    "state_key",
    "content",
    "hashes",
    "signatures",
    "depth",
    "prev_events",
    "auth_events",
    "origin_server_ts",
}
KEPT_UNTIL_V10 = {"origin", "membership", "prev_state"}
NEVER_KEPT = {"unsigned", "redacts", "org.example.key", "age"}

LEVELS = ["ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"]

# Event type, content key, first and last version in which the key is kept.
CONTENT_KEYS = [
    ("m.room.member", "membership", 1, 12),
    ("m.room.member", "join_authorised_via_users_server", 9, 12),
    ("m.room.member", "displayname", 0, 0),
    ("m.room.member", "avatar_url", 0, 0),
    ("m.room.member", "reason", 0, 0),
    ("m.room.create", "creator", 1, 12),
    ("m.room.create", "room_version", 11, 12),
    ("m.room.create", "m.federate", 11, 12),
    ("m.room.create", "additional_creators", 11, 12),
    ("m.room.create", "org.example.key", 11, 12),
    ("m.room.join_rules", "join_rule", 1, 12),
    ("m.room.join_rules", "allow", 8, 12),
    ("m.room.join_rules", "membership", 0, 0),
    *[("m.room.power_levels", level, 1, 12) for level in LEVELS],
    ("m.room.power_levels", "invite", 11, 12),
    ("m.room.power_levels", "notifications", 0, 0),
    ("m.room.aliases", "aliases", 1, 5),
    ("m.room.history_visibility", "history_visibility", 1, 12),
    ("m.room.redaction", "redacts", 11, 12),
    ("m.room.redaction", "reason", 0, 0),
    ("m.room.message", "body", 0, 0),
    ("m.room.name", "name", 0, 0),
    ("m.room.canonical_alias", "alias", 0, 0),
    ("m.room.third_party_invite", "public_key", 0, 0),
    ("m.room.server_acl", "deny", 0, 0),
    ("m.room.encryption", "algorithm", 0, 0),
]


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_top_level_keys_by_version(version: RoomVersion) -> None:
    event: dict[str, Any] = dict.fromkeys(ALWAYS_KEPT | KEPT_UNTIL_V10 | NEVER_KEPT, "x") | {"content": {}}
    expected = ALWAYS_KEPT | (KEPT_UNTIL_V10 if int(version.id) <= 10 else set())
    assert set(redact(event, version)) == expected


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
@pytest.mark.parametrize(("event_type", "key", "first", "last"), CONTENT_KEYS)
def test_content_keys_by_version(version: RoomVersion, event_type: str, key: str, first: int, last: int) -> None:
    redacted = redact({"type": event_type, "content": {key: ["value"]}}, version)
    expected = {key: ["value"]} if first <= int(version.id) <= last else {}
    assert redacted == {"type": event_type, "content": expected}


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
@pytest.mark.parametrize(
    ("invite", "kept"),
    [
        ({"display_name": "a", "signed": {"token": "t", "mxid": "@a:a"}}, {"signed": {"token": "t", "mxid": "@a:a"}}),
        ({"display_name": "a"}, {}),
    ],
)
def test_third_party_invite_keeps_signed_since_v11(version: RoomVersion, invite: Any, kept: Any) -> None:
    redacted = redact(
        {"type": "m.room.member", "content": {"membership": "invite", "third_party_invite": invite}}, version
    )
    expected = {"membership": "invite"}
    if int(version.id) >= 11:
        expected["third_party_invite"] = kept
    assert redacted["content"] == expected


def test_third_party_invite_that_is_no_object_goes() -> None:
    event = {"type": "m.room.member", "content": {"membership": "join", "third_party_invite": "signed"}}
    assert redact(event, ROOM_VERSIONS["11"])["content"] == {"membership": "join"}


@pytest.mark.parametrize("content", [None, [], "membership", 5])
def test_content_that_is_no_object_becomes_empty(content: Any) -> None:
    assert redact({"type": "m.room.create", "content": content}, ROOM_VERSIONS["12"])["content"] == {}


def test_redacting_leaves_the_event_as_it_was() -> None:
    event = {"type": "m.room.member", "content": {"membership": "join", "displayname": "A"}, "unsigned": {}}
    redact(event, ROOM_VERSIONS["12"])
    assert event == {"type": "m.room.member", "content": {"membership": "join", "displayname": "A"}, "unsigned": {}}


event_types = st.sampled_from(sorted({event_type for event_type, *_ in CONTENT_KEYS}))
contents = st.dictionaries(
    st.sampled_from(sorted({key for _, key, *_ in CONTENT_KEYS} | {"third_party_invite"})), json_values
)


@given(
    version=st.sampled_from(ALL_VERSIONS), event=json_objects, event_type=event_types | json_values, content=json_values
)
def test_redacting_any_json_twice_changes_nothing_more(
    version: RoomVersion, event: dict[str, Any], event_type: Any, content: Any
) -> None:
    once = redact({**event, "type": event_type, "content": content}, version)
    assert redact(once, version) == once


@given(version=st.sampled_from(ALL_VERSIONS), event_type=event_types, content=contents)
def test_redacting_keeps_event_id_and_signatures(
    version: RoomVersion, event_type: str, content: dict[str, Any]
) -> None:
    is_create = event_type == "m.room.create" and not version.event_format.create_has_room_id
    room = {"room_id": None} if is_create else {}
    pdu = seal(version, proto(version, type=event_type, state_key="", content=content, **room))
    redacted = redact(pdu.json, version)

    assert event_id_of(redacted, version) == pdu.event_id
    again = parse_pdu(redacted, version)
    assert (again.event_id, again.room_id) == (pdu.event_id, pdu.room_id)
    verify_event_signatures(redacted, version, {ONE: {KEY.key_id: verify_key(KEY)}})


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_redacted_message_has_another_content_hash(version: RoomVersion) -> None:
    pdu = seal(version, proto(version))
    assert content_hash_matches(pdu.json, version)
    assert not content_hash_matches(redact(pdu.json, version), version)
