"""What remote servers can put into events: no verdict is an exception, and no verdict looks where it must not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.auth import Denied, check_auth_events, check_event, select_auth_types
from conduit_py.matrix.auth.third_party_invite import VERIFICATIONS_MAX, is_signed_with_any, public_keys_of
from conduit_py.matrix.auth.verdict import RULE_NUMBERS, denied
from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from tests.matrix.auth.rig import (
    ALICE,
    BOB,
    EVE,
    IVY,
    KEY,
    KIM,
    MOD,
    NEW,
    TOKEN,
    ZOE,
    Rig,
    base64_of,
    signed_invitation,
)

USERS = [ALICE, MOD, BOB, ZOE, EVE, IVY, KIM, NEW]
TYPES = [
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.third_party_invite",
    "m.room.aliases",
    "m.room.redaction",
    "m.room.message",
]
PROPERTIES = [
    "membership",
    "join_authorised_via_users_server",
    "third_party_invite",
    "signed",
    "signatures",
    "mxid",
    "token",
    "public_key",
    "public_keys",
    "join_rule",
    "users",
    "users_default",
    "events",
    "events_default",
    "state_default",
    "notifications",
    "ban",
    "invite",
    "room_version",
    "creator",
    "additional_creators",
    "m.federate",
]
WORDS = [
    *USERS,
    *PROPERTIES,
    TOKEN,
    "join",
    "invite",
    "leave",
    "ban",
    "knock",
    "restricted",
    "public",
    "50",
    "",
    "\ud800",
]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
contents = st.dictionaries(st.sampled_from(PROPERTIES), values, max_size=6)
versions = st.sampled_from(list(ROOM_VERSIONS.values()))


@st.composite
def events(draw: st.DrawFn, room_version: RoomVersion) -> Pdu:
    return Rig(room_version).event(
        draw(st.sampled_from(TYPES)),
        draw(st.sampled_from(USERS)),
        draw(st.none() | st.sampled_from([*USERS, "", "one.test", TOKEN])),
        draw(contents),
        signatures=draw(st.just({}) | st.just({"one.test": {"ed25519:a": "x"}}) | contents),
        prev_events=draw(st.sampled_from([(), ("$create",), ("$create:one.test",), ("$x", "$y")])),
    )


@given(st.data(), versions)
def test_check_event_returns_a_verdict_for_any_event_in_any_state(
    data: st.DataObject, room_version: RoomVersion
) -> None:
    rig = Rig(room_version)
    for key in data.draw(st.lists(st.sampled_from(list(rig.state)), max_size=4)):
        rig.state[key] = rig.event(key[0], data.draw(st.sampled_from(USERS)), key[1], data.draw(contents))
    event = data.draw(events(room_version))
    read: set[tuple[str, str]] = set()

    def get_state(type: str, state_key: str) -> Pdu | None:
        read.add((type, state_key))
        return rig.state.get((type, state_key))

    verdict = check_event(room_version, event, get_state)
    assert verdict is None or verdict.rule in RULE_NUMBERS[room_version.id].values()
    selected = select_auth_types(
        room_version, type=event.type, sender=event.sender, state_key=event.state_key, content=event.content
    )
    assert read <= {*selected, ("m.room.create", "")}


@given(st.data(), versions)
def test_check_auth_events_returns_a_verdict_for_any_events(data: st.DataObject, room_version: RoomVersion) -> None:
    event = data.draw(events(room_version))
    auth_events = data.draw(st.lists(events(room_version), max_size=4))
    verdict = check_auth_events(room_version, event, auth_events)
    assert verdict is None or verdict.rule in RULE_NUMBERS[room_version.id].values()


@pytest.mark.parametrize("room_version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.id}")
def test_selected_auth_events_are_accepted(room_version: RoomVersion) -> None:
    rig = Rig(room_version)
    for event in (rig.event("m.room.message", BOB), rig.event("m.room.member", BOB, BOB, {"membership": "join"})):
        keys = select_auth_types(
            room_version, type=event.type, sender=event.sender, state_key=event.state_key, content=event.content
        )
        assert check_auth_events(room_version, event, [rig.state[key] for key in keys]) is None


def test_create_needs_no_auth_events() -> None:
    for room_version in ROOM_VERSIONS.values():
        assert check_auth_events(room_version, Rig(room_version).create, []) is None


def test_denied_names_the_rule_of_the_room_version() -> None:
    assert denied(ROOM_VERSIONS["1"], "joined", "why") == Denied("6", "why")
    assert denied(ROOM_VERSIONS["6"], "joined", "why") == Denied("5", "why")
    with pytest.raises(KeyError):
        denied(ROOM_VERSIONS["3"], "redaction.level", "v3 has no such rule")


def keys(count: int) -> list[bytes]:
    return [number.to_bytes(2, "big") * 16 for number in range(1, count + 1)]


def test_third_party_signature_counts_whoever_claims_it() -> None:
    signed = signed_invitation()["signed"]
    (signatures,) = signed["signatures"].values()
    elsewhere: dict[str, Any] = {**signed, "signatures": {"x": 1, "y": {"other:0": "x"}, "z": signatures}}
    assert is_signed_with_any([KEY.public_key], elsewhere)


def test_third_party_signature_of_another_algorithm_does_not_count() -> None:
    signed = signed_invitation()["signed"]
    (signature,) = signed["signatures"]["id.test"].values()
    assert not is_signed_with_any([KEY.public_key], {**signed, "signatures": {"id.test": {"x25519:0": signature}}})


def test_third_party_signature_with_any_of_many_keys_counts() -> None:
    signed = signed_invitation()["signed"]
    assert is_signed_with_any([*keys(VERIFICATIONS_MAX - 1), KEY.public_key], signed)


def test_third_party_signature_is_not_looked_for_without_end() -> None:
    signed = signed_invitation()["signed"]
    assert not is_signed_with_any([*keys(VERIFICATIONS_MAX), KEY.public_key], signed)


def test_third_party_keys_may_use_either_alphabet() -> None:
    key = b"\xfb\xff" * 16
    standard = encode_base64(key)
    url_safe = standard.replace("+", "-").replace("/", "_")
    assert standard != url_safe
    content = {"public_keys": [{"public_key": standard}, {"public_key": url_safe}, {"public_key": base64_of(KEY)}]}
    assert public_keys_of(content) == [key, KEY.public_key]
