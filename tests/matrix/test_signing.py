"""Signatures over JSON and events: the spec's vectors, who must sign, and which keys count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.hashes import content_hash, decode_base64, encode_base64
from conduit_py.matrix.ids import KeyId, Malformed, ServerName
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.matrix.signing import (
    KEY_VALID_MS_MAX,
    InvalidSignature,
    SigningKey,
    VerifyKey,
    decode_public_key,
    ed25519_signatures,
    get_authorising_server,
    parse_server_keys,
    required_signers,
    sign_event,
    sign_json,
    verify_event_signatures,
    verify_json_signature,
    verify_signed_json,
)
from tests.matrix.events import (
    ALICE,
    ALL_VERSIONS,
    BOB,
    KEY,
    NOW_MS,
    ONE,
    OTHER_KEY,
    TWO,
    federation_json,
    json_objects,
    json_values,
    proto,
    seal,
    verify_key,
)

SPEC_KEY = SigningKey.from_seed(KeyId("ed25519:1"), decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"))
DOMAIN = ServerName("domain")
V1, V4, V5, V8, V12 = (ROOM_VERSIONS[version_id] for version_id in ("1", "4", "5", "8", "12"))
KEYS = {ONE: {KEY.key_id: verify_key(KEY)}}


@pytest.mark.parametrize(
    ("given_json", "signature"),
    [
        ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_json_signing_examples_of_the_spec(given_json: dict[str, Any], signature: str) -> None:
    """appendices/#json-signing"""
    signed = sign_json(given_json, entity="domain", signing_key=SPEC_KEY)
    assert signed == {**given_json, "signatures": {"domain": {"ed25519:1": signature}}}


@pytest.mark.parametrize(
    ("event", "signature"),
    [
        (
            {
                "room_id": "!x:domain",
                "sender": "@a:domain",
                "origin": "domain",
                "origin_server_ts": 1000000,
                "signatures": {},
                "hashes": {},
                "type": "X",
                "content": {},
                "prev_events": [],
                "auth_events": [],
                "depth": 3,
                "unsigned": {"age_ts": 1000000},
            },
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        ),
        (
            {
                "content": {"body": "Here is the message content"},
                "event_id": "$0:domain",
                "origin": "domain",
                "origin_server_ts": 1000000,
                "type": "m.room.message",
                "room_id": "!r:domain",
                "sender": "@u:domain",
                "signatures": {},
                "unsigned": {"age_ts": 1000000},
            },
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        ),
    ],
)
def test_event_signing_examples_of_the_spec(event: dict[str, Any], signature: str) -> None:
    """appendices/#event-signing"""
    hashed = {**event, "hashes": {"sha256": encode_base64(content_hash(event, V1))}}
    signed = sign_event(hashed, V1, server_name=DOMAIN, signing_key=SPEC_KEY)
    assert signed == {**hashed, "signatures": {"domain": {"ed25519:1": signature}}}


def test_seed_and_public_key_come_back_and_the_seed_is_not_shown() -> None:
    key = SigningKey.from_seed(KeyId("ed25519:a"), b"s" * 32)
    assert key.seed == b"s" * 32
    assert decode_public_key(encode_base64(key.public_key)) == key.public_key
    assert "ssss" not in repr(key)
    assert "_key" not in repr(key)


@given(json_objects, json_objects)
def test_signed_json_verifies_whatever_is_unsigned(value: dict[str, Any], unsigned: dict[str, Any]) -> None:
    value.pop("signatures", None)
    once = sign_json(value, entity=ONE, signing_key=KEY)
    twice = sign_json({**once, "unsigned": unsigned}, entity=TWO, signing_key=OTHER_KEY)
    verify_signed_json(twice, server_name=ONE, keys={KEY.key_id: verify_key(KEY)})
    verify_json_signature(twice, entity=TWO, key_id=OTHER_KEY.key_id, public_key=OTHER_KEY.public_key)
    assert "signatures" not in value


@given(json_objects)
def test_changed_json_does_not_verify(value: dict[str, Any]) -> None:
    value.pop("signatures", None)
    signed = sign_json(value, entity=ONE, signing_key=KEY)
    with pytest.raises(InvalidSignature, match="wrong"):
        verify_signed_json({**signed, "a key": "of ours"}, server_name=ONE, keys={KEY.key_id: verify_key(KEY)})


@given(st.dictionaries(st.sampled_from([ONE, TWO]), json_values) | json_values)
def test_any_signatures_object_is_invalid_and_nothing_else(signatures: Any) -> None:
    for value in ({"signatures": signatures}, {"signatures": {ONE: {KEY.key_id: signatures}}}):
        with pytest.raises(InvalidSignature):
            verify_signed_json(value, server_name=ONE, keys={KEY.key_id: verify_key(KEY)})


def test_json_without_canonical_form_has_no_valid_signature() -> None:
    signature = {ONE: {KEY.key_id: encode_base64(bytes(64))}}
    with pytest.raises(InvalidSignature):
        verify_signed_json(
            {"a": "\ud800", "signatures": signature}, server_name=ONE, keys={KEY.key_id: verify_key(KEY)}
        )


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_event_verifies_with_its_servers_key(version: RoomVersion) -> None:
    verify_event_signatures(seal(version, proto(version)).json, version, KEYS)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
@pytest.mark.parametrize("change", [{"depth": 8}, {"sender": "@eve:one.test"}, {"hashes": {"sha256": "other"}}])
def test_changed_event_does_not_verify(version: RoomVersion, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignature, match="wrong"):
        verify_event_signatures(federation_json(version, **change), version, KEYS)


def test_event_of_another_server_does_not_verify_with_our_signature() -> None:
    with pytest.raises(InvalidSignature, match=r"no signature of two\.test"):
        verify_event_signatures(federation_json(V12, sender=BOB), V12, KEYS)


def test_event_without_known_key_does_not_verify() -> None:
    with pytest.raises(InvalidSignature, match="known"):
        verify_event_signatures(federation_json(V12), V12, {})


def test_signature_by_an_unknown_key_is_skipped() -> None:
    event = federation_json(V12)
    event["signatures"] = {ONE: {**event["signatures"][ONE], "ed25519:policy_server": "junk", "rsa:1": "junk"}}
    verify_event_signatures(event, V12, KEYS)
    assert dict(ed25519_signatures(event, ONE)).keys() == {KEY.key_id, "ed25519:policy_server"}


def test_wrong_signature_by_a_known_key_is_not_forgiven() -> None:
    event = federation_json(V12)
    event["signatures"] = {ONE: {**event["signatures"][ONE], OTHER_KEY.key_id: encode_base64(bytes(64))}}
    keys = {ONE: {KEY.key_id: verify_key(KEY), OTHER_KEY.key_id: verify_key(OTHER_KEY)}}
    with pytest.raises(InvalidSignature, match="ed25519:b is wrong"):
        verify_event_signatures(event, V12, keys)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_event_id_server_must_sign_in_v1_and_v2(version: RoomVersion) -> None:
    event = federation_json(version, event_id="$x:two.test")
    expected = {ONE, TWO} if version.id in ("1", "2") else {ONE}
    assert required_signers(event, version) == expected


@pytest.mark.parametrize("membership", ["join", "invite", "leave", "ban", "knock"])
@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_authorising_server_must_sign_a_membership_since_v8(version: RoomVersion, membership: str) -> None:
    content = {"membership": membership, "join_authorised_via_users_server": BOB}
    event = federation_json(version, type="m.room.member", state_key=ALICE, content=content)
    assert required_signers(event, version) == ({ONE, TWO} if int(version.id) >= 8 else {ONE})
    assert required_signers({**event, "type": "m.room.message"}, version) == {ONE}


@pytest.mark.parametrize("authorising_user", [None, "two.test", "bob:two.test", "@bob", "@bob:t w o", 5, [BOB], {}])
def test_membership_authorised_by_nobody_is_left_to_the_authorisation_rules(authorising_user: Any) -> None:
    content = {"membership": "join", "join_authorised_via_users_server": authorising_user}
    event = federation_json(V8, type="m.room.member", state_key=ALICE, content=content)
    assert required_signers(event, V8) == {ONE}
    assert get_authorising_server(content) is None


def test_restricted_join_needs_both_signatures() -> None:
    content = {"membership": "join", "join_authorised_via_users_server": BOB}
    pdu = seal(V8, proto(V8, type="m.room.member", state_key=ALICE, content=content))
    keys = {**KEYS, TWO: {OTHER_KEY.key_id: verify_key(OTHER_KEY)}}
    with pytest.raises(InvalidSignature, match=r"two\.test"):
        verify_event_signatures(pdu.json, V8, keys)
    both = sign_event(pdu.json, V8, server_name=TWO, signing_key=OTHER_KEY)
    verify_event_signatures(both, V8, keys)


@pytest.mark.parametrize(("version", "signers"), [(V1, {ONE}), (V12, set())])
def test_third_party_invite_may_be_sent_by_any_server(version: RoomVersion, signers: set[ServerName]) -> None:
    content = {"membership": "invite", "third_party_invite": {"signed": {}}}
    event = federation_json(version, type="m.room.member", sender=BOB, state_key=ALICE, content=content)
    assert required_signers(event, version) == signers
    plain = {**event, "content": {"membership": "invite"}}
    assert TWO in required_signers(plain, version)
    other_type = {**event, "type": "m.room.message"}
    assert TWO in required_signers(other_type, version)


@pytest.mark.parametrize(("valid_for_ms", "counts"), [(0, True), (1, True), (-1, False)])
def test_valid_until_ts_is_enforced_since_v5(valid_for_ms: int, counts: bool) -> None:
    keys = {ONE: {KEY.key_id: verify_key(KEY, valid_until_ts=NOW_MS + valid_for_ms)}}
    verify_event_signatures(federation_json(V4), V4, keys)
    if counts:
        verify_event_signatures(federation_json(V5), V5, keys)
    else:
        with pytest.raises(InvalidSignature):
            verify_event_signatures(federation_json(V5), V5, keys)


@pytest.mark.parametrize("enforce", [True, False])
def test_old_key_signs_only_events_from_before_it_expired(enforce: bool) -> None:
    key = VerifyKey(KEY.key_id, KEY.public_key, valid_until_ts=500, expired_ts=500)
    assert key.may_sign_event(500, enforce_key_validity=enforce)
    assert not key.may_sign_event(501, enforce_key_validity=enforce)
    assert not key.may_sign_request(400)


def test_current_key_signs_requests_until_it_is_no_longer_valid() -> None:
    key = verify_key(KEY, valid_until_ts=500)
    assert key.may_sign_request(500)
    assert not key.may_sign_request(501)


def server_keys(**changes: Any) -> dict[str, Any]:
    keys = {
        "server_name": ONE,
        "valid_until_ts": NOW_MS + 1000,
        "verify_keys": {KEY.key_id: {"key": encode_base64(KEY.public_key)}},
        "old_verify_keys": {OTHER_KEY.key_id: {"key": encode_base64(OTHER_KEY.public_key), "expired_ts": 5}},
        **changes,
    }
    return sign_json(keys, entity=ONE, signing_key=KEY)


def test_server_keys_are_parsed_with_old_ones() -> None:
    parsed = parse_server_keys(server_keys(), fetched_ts=NOW_MS)
    assert parsed.server_name == ONE
    assert parsed.valid_until_ts == NOW_MS + 1000
    assert parsed.keys == {
        KEY.key_id: VerifyKey(KEY.key_id, KEY.public_key, NOW_MS + 1000),
        OTHER_KEY.key_id: VerifyKey(OTHER_KEY.key_id, OTHER_KEY.public_key, 5, expired_ts=5),
    }


def test_server_keys_count_for_seven_days_at_most() -> None:
    parsed = parse_server_keys(server_keys(valid_until_ts=2**53 - 1), fetched_ts=NOW_MS)
    assert parsed.valid_until_ts == parsed.keys[KEY.key_id].valid_until_ts == NOW_MS + KEY_VALID_MS_MAX


def test_server_keys_that_are_not_understood_are_left_out() -> None:
    verify_keys = {
        KEY.key_id: {"key": encode_base64(KEY.public_key)},
        "ed25519:short": {"key": "AAAA"},
        "ed25519:none": {},
        "ed25519:list": [],
        "ed25519:a b": {"key": encode_base64(KEY.public_key)},
        "rsa:1": {"key": "AAAA"},
    }
    old = {"ed25519:x": {"key": encode_base64(KEY.public_key), "expired_ts": "5"}}
    parsed = parse_server_keys(server_keys(verify_keys=verify_keys, old_verify_keys=old), fetched_ts=NOW_MS)
    assert set(parsed.keys) == {KEY.key_id}


def test_server_keys_signed_by_an_old_key_alone_are_invalid() -> None:
    keys = server_keys(verify_keys={OTHER_KEY.key_id: {"key": encode_base64(OTHER_KEY.public_key)}})
    with pytest.raises(InvalidSignature):
        parse_server_keys(keys, fetched_ts=NOW_MS)


@given(json_objects, json_values)
def test_any_server_keys_are_malformed_or_invalid(value: dict[str, Any], part: Any) -> None:
    good = server_keys()
    broken = [value, *({**good, name: part} for name in ("server_name", "valid_until_ts", "verify_keys", "signatures"))]
    for keys in broken:
        with pytest.raises((Malformed, InvalidSignature)):
            parse_server_keys(keys, fetched_ts=NOW_MS)
