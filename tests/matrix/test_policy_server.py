"""Policy servers: whom a room asks, and whose signature that needs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import KeyId
from conduit_py.matrix.policy_server import PolicyServer, parse_policy_server, verify_policy_signature
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import InvalidSignature, SigningKey, sign_event, verify_event_signatures
from tests.matrix.events import ALL_VERSIONS, KEY, ONE, TWO, federation_json, json_values, proto, seal, verify_key

POLICY_KEY = SigningKey.from_seed(KeyId("ed25519:policy_server"), bytes(range(2, 34)))
PUBLIC_KEY = encode_base64(POLICY_KEY.public_key)
POLICY_SERVER = PolicyServer(TWO, PUBLIC_KEY)
V12 = ALL_VERSIONS[-1]

every_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")


def content(**changes: Any) -> dict[str, Any]:
    given = {"via": TWO, "public_keys": {"ed25519": PUBLIC_KEY, "other": "x"}, **changes}
    return {name: value for name, value in given.items() if value is not ...}


def test_policy_server_is_named_by_the_room() -> None:
    assert parse_policy_server(content()) == POLICY_SERVER


@pytest.mark.parametrize(
    "change",
    [{"via": ...}, {"via": 1}, {"public_keys": ...}, {"public_keys": PUBLIC_KEY}, {"public_keys": {"ed25519": None}}],
)
def test_room_without_valid_policy_asks_nobody(change: dict[str, Any]) -> None:
    assert parse_policy_server(content(**change)) is None


@given(json_values)
def test_any_policy_is_read(value: Any) -> None:
    assert parse_policy_server(value) is None
    assert parse_policy_server(content(public_keys=value)) is None


@every_version
def test_event_that_the_policy_server_signed_passes(version: RoomVersion) -> None:
    signed = sign_event(federation_json(version), version, server_name=TWO, signing_key=POLICY_KEY)
    verify_policy_signature(signed, version, POLICY_SERVER)
    # Among the signatures of servers it is one by an unknown key.
    verify_event_signatures(signed, version, {ONE: {KEY.key_id: verify_key(KEY)}})


@every_version
def test_event_without_the_signature_does_not_pass(version: RoomVersion) -> None:
    event = federation_json(version)
    of_another = sign_event(event, version, server_name=ONE, signing_key=POLICY_KEY)
    with_another_key = sign_event(event, version, server_name=TWO, signing_key=KEY)
    changed = {**sign_event(event, version, server_name=TWO, signing_key=POLICY_KEY), "depth": 9}
    for unsigned in (event, of_another, with_another_key, changed):
        with pytest.raises(InvalidSignature):
            verify_policy_signature(unsigned, version, POLICY_SERVER)


@pytest.mark.parametrize("public_key", ["", "AAAA", "no Base64"])
def test_no_event_passes_with_a_key_that_is_none(public_key: str) -> None:
    signed = sign_event(federation_json(V12), V12, server_name=TWO, signing_key=POLICY_KEY)
    with pytest.raises(InvalidSignature, match="key"):
        verify_policy_signature(signed, V12, PolicyServer(TWO, public_key))


@pytest.mark.parametrize(("state_key", "is_asked"), [("", False), ("x", True), (None, True)])
def test_policy_itself_needs_no_signature(state_key: str | None, is_asked: bool) -> None:
    event = seal(V12, proto(V12, type="m.room.policy", state_key=state_key, content=content())).json
    if is_asked:
        with pytest.raises(InvalidSignature):
            verify_policy_signature(event, V12, POLICY_SERVER)
    else:
        verify_policy_signature(event, V12, POLICY_SERVER)
