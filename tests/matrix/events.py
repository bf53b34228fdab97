"""Events of every room version for the tests of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from conduit_py.matrix.event_builder import build_event, sign_and_hash
from conduit_py.matrix.ids import EventId, KeyId, RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.matrix.signing import KEY_VALID_MS_MAX, SigningKey, VerifyKey

NOW_MS = 1_700_000_000_000
ONE = ServerName("one.test")
TWO = ServerName("two.test")
ALICE = UserId("@alice:one.test")
BOB = UserId("@bob:two.test")
KEY = SigningKey.from_seed(KeyId("ed25519:a"), bytes(range(32)))
OTHER_KEY = SigningKey.from_seed(KeyId("ed25519:b"), bytes(range(1, 33)))

ALL_VERSIONS = list(ROOM_VERSIONS.values())

# The shapes that events hold, numbers that old room versions let through included.
json_scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text()
json_values: st.SearchStrategy[Any] = st.recursive(
    json_scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
json_objects = st.dictionaries(st.text(), json_values, max_size=5)
wild_json_values: st.SearchStrategy[Any] = st.recursive(
    json_scalars | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def verify_key(key: SigningKey, *, valid_until_ts: int = NOW_MS + KEY_VALID_MS_MAX) -> VerifyKey:
    return VerifyKey(key.key_id, key.public_key, valid_until_ts)


def room_id_for(room_version: RoomVersion) -> RoomId:
    return RoomId("!room:one.test" if room_version.event_format.create_has_room_id else "!" + "a" * 43)


def event_id_for(room_version: RoomVersion, name: str = "x") -> EventId:
    """An ID in the version's format; the hash of nothing."""
    random = room_version.event_format.event_id_format == "random"
    return EventId(f"${name}:one.test" if random else "$" + (name * 43)[:43])


def proto(room_version: RoomVersion, **changes: Any) -> dict[str, Any]:
    """What ``build_event`` gives for a message of Alice's, or for what ``changes`` make of it."""
    arguments: dict[str, Any] = {
        "room_version": room_version,
        "room_id": room_id_for(room_version),
        "type": "m.room.message",
        "sender": ALICE,
        "state_key": None,
        "content": {"body": "hello", "msgtype": "m.text"},
        "prev_events": [event_id_for(room_version, "p")],
        "auth_events": [event_id_for(room_version, "q"), event_id_for(room_version, "r")],
        "depth": 7,
        "origin_server_ts": NOW_MS,
    }
    return build_event(**{**arguments, **changes})


def create_proto(room_version: RoomVersion) -> dict[str, Any]:
    has_room_id = room_version.event_format.create_has_room_id
    return proto(
        room_version,
        room_id=room_id_for(room_version) if has_room_id else None,
        type="m.room.create",
        state_key="",
        content={"room_version": room_version.id, "creator": ALICE},
        prev_events=[],
        auth_events=[],
        depth=1,
    )


def seal(room_version: RoomVersion, event: Mapping[str, Any], *, event_id: str = "$own:one.test") -> Pdu:
    """Hash and sign with Alice's server's key."""
    is_random = room_version.event_format.event_id_format == "random"
    return sign_and_hash(event, room_version, ONE, KEY, event_id=EventId(event_id) if is_random else None)


def federation_json(room_version: RoomVersion, **changes: Any) -> dict[str, Any]:
    """A valid event as it comes over federation; ``changes`` replace top-level keys, ``...`` removes one."""
    event = {**seal(room_version, proto(room_version)).json, **changes}
    return {key: value for key, value in event.items() if value is not ...}
