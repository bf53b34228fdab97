"""Hashes, Base64 and event IDs."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.hashes import (
    content_hash,
    content_hash_matches,
    decode_base64,
    encode_base64,
    encode_base64_url_safe,
    event_id_of,
    reference_hash,
    signed_bytes,
)
from conduit_py.matrix.ids import Malformed, parse_event_id
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from tests.matrix.events import ALL_VERSIONS, federation_json, json_objects, json_values

V1, V3, V12 = ROOM_VERSIONS["1"], ROOM_VERSIONS["3"], ROOM_VERSIONS["12"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"f", "Zg"),
        (b"fo", "Zm8"),
        (b"foo", "Zm9v"),
        (b"foob", "Zm9vYg"),
        (b"fooba", "Zm9vYmE"),
        (b"foobar", "Zm9vYmFy"),
    ],
)
def test_base64_examples_of_the_spec(data: bytes, text: str) -> None:
    assert encode_base64(data) == text
    assert decode_base64(text) == data


@given(st.binary())
def test_base64_decodes_both_alphabets_with_and_without_padding(data: bytes) -> None:
    for text in (encode_base64(data), encode_base64_url_safe(data)):
        padded = text + "=" * (-len(text) % 4)
        assert decode_base64(text) == decode_base64(padded) == data


def test_base64_alphabets() -> None:
    assert encode_base64(b"\xfb\xff") == "+/8"
    assert encode_base64_url_safe(b"\xfb\xff") == "-_8"


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA A", "AA\nA", "ä", "A*AA", "AAA*A", "AA\nAA", "AAAA*", "AA=A", "=A"])
def test_what_is_not_base64_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        decode_base64(text)


@given(st.text())
def test_any_text_decodes_or_is_malformed(text: str) -> None:
    with suppress(Malformed):
        assert len(decode_base64(text)) <= len(text)


def test_content_hash_examples_of_the_spec() -> None:
    """appendices/#event-signing"""
    minimal = {
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
    }
    redactable = {
        "content": {"body": "Here is the message content"},
        "event_id": "$0:domain",
        "origin": "domain",
        "origin_server_ts": 1000000,
        "type": "m.room.message",
        "room_id": "!r:domain",
        "sender": "@u:domain",
        "signatures": {},
        "unsigned": {"age_ts": 1000000},
    }
    assert encode_base64(content_hash(minimal, V1)) == "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"
    assert encode_base64(content_hash(redactable, V1)) == "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"


def test_reference_hash_by_hand() -> None:
    event = federation_json(V12, unsigned={"age": 1})
    essential = {key: event[key] for key in event if key not in ("signatures", "unsigned")} | {"content": {}}
    by_hand = json.dumps(essential, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert signed_bytes(event, V12) == by_hand
    assert reference_hash(event, V12) == sha256(by_hand).digest()
    assert event_id_of(event, V12) == "$" + encode_base64_url_safe(sha256(by_hand).digest())


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_event_id_has_the_format_of_its_version(version: RoomVersion) -> None:
    event = federation_json(version)
    event_id = parse_event_id(event_id_of(event, version))
    match version.event_format.event_id_format:
        case "random":
            assert event_id == event["event_id"]
        case "hash":
            assert event_id == "$" + encode_base64(reference_hash(event, version))
        case "hash_url_safe":
            assert event_id == "$" + encode_base64_url_safe(reference_hash(event, version))


@pytest.mark.parametrize("version", ALL_VERSIONS[2:], ids=lambda version: f"v{version.id}")
def test_event_id_ignores_what_others_may_add(version: RoomVersion) -> None:
    event = federation_json(version)
    added = {**event, "signatures": {"two.test": {"ed25519:x": "y"}}, "unsigned": {"age": 5}, "org.example.key": 1}
    assert event_id_of(added, version) == event_id_of(event, version)
    assert event_id_of({**event, "depth": 8}, version) != event_id_of(event, version)
    assert event_id_of({**event, "hashes": {"sha256": "other"}}, version) != event_id_of(event, version)


@given(st.sampled_from(ALL_VERSIONS), json_objects)
def test_content_hash_covers_the_content_but_not_signatures(version: RoomVersion, content: dict[str, Any]) -> None:
    event = federation_json(version)
    changed = {**event, "content": content}
    assert (content_hash(changed, version) == content_hash(event, version)) == (content == event["content"])
    assert content_hash({**event, "signatures": content, "unsigned": content}, version) == content_hash(event, version)


@given(json_values)
def test_content_hash_that_cannot_be_read_does_not_match(claimed: Any) -> None:
    assert not content_hash_matches(federation_json(V12, hashes={"sha256": claimed}), V12)


def test_content_hash_may_be_padded() -> None:
    event = federation_json(V12)
    assert content_hash_matches({**event, "hashes": {"sha256": event["hashes"]["sha256"] + "="}}, V12)


def test_content_hash_without_sha256_does_not_match() -> None:
    assert not content_hash_matches(federation_json(V3, hashes={"md5": "x"}), V3)
