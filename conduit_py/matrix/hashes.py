"""The two hashes of an event, and the event ID that one of them gives.

Spec: server-server-api/#calculating-the-reference-hash-for-an-event,
server-server-api/#calculating-the-content-hash-for-an-event
"""

from __future__ import annotations

import binascii
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import EventId, Malformed
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.room_versions import RoomVersion

VALUES_MAX: Final = 65_536
"""An event may have no more bytes."""

_NOT_IN_CONTENT_HASH: Final = frozenset({"unsigned", "signatures", "hashes"})
_URL_SAFE_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def encode_base64(data: bytes) -> str:
    """Unpadded Base64. Spec: appendices/#unpadded-base64"""
    return b64encode(data).rstrip(b"=").decode()


def encode_base64_url_safe(data: bytes) -> str:
    """Spec: appendices/#url-safe-unpadded-base64"""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64(text: str) -> bytes:
    """Decode either alphabet, with or without padding, as the spec asks; raises :class:`Malformed` for anything else.

    Spec: appendices/#unpadded-base64
    """
    try:
        data = text.encode("ascii").translate(_URL_SAFE_TO_STANDARD).rstrip(b"=")
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4), strict_mode=True)
    except ValueError as error:
        raise Malformed(f"not Base64: {error}") from None


def content_hash(json: Mapping[str, Any], room_version: RoomVersion) -> bytes:
    """SHA-256 over the whole event; what ``hashes.sha256`` must hold."""
    hashed = {key: value for key, value in json.items() if key not in _NOT_IN_CONTENT_HASH}
    return sha256(encode_canonical_json(hashed, strict=room_version.event_format.strict_canonical_json)).digest()


def content_hash_matches(json: Mapping[str, Any], room_version: RoomVersion) -> bool:
    """Whether ``hashes.sha256`` is the hash of this content; if not, the event must be redacted before use.

    Spec: server-server-api/#validating-hashes-and-signatures-on-received-events
    """
    claimed = json["hashes"].get("sha256")
    if not isinstance(claimed, str):
        return False
    try:
        return compare_digest(decode_base64(claimed), content_hash(json, room_version))
    except Malformed:
        return False


def signed_bytes(json: Mapping[str, Any], room_version: RoomVersion) -> bytes:
    """The redacted event without signatures, encoded: what the reference hash and all event signatures cover."""
    redacted = redact(json, room_version)
    redacted.pop("signatures", None)
    strict = room_version.event_format.strict_canonical_json
    return encode_canonical_json(redacted, strict=strict, values_max=VALUES_MAX)


def reference_hash(json: Mapping[str, Any], room_version: RoomVersion) -> bytes:
    """SHA-256 over the essential fields of the event."""
    return sha256(signed_bytes(json, room_version)).digest()


def event_id_of(json: Mapping[str, Any], room_version: RoomVersion) -> EventId:
    """The event's ID: from the event in room versions 1 and 2, from its reference hash since then.

    Spec: rooms/v1/#event-ids, rooms/v3/#event-ids, rooms/v4/#event-ids
    """
    if room_version.event_format.event_id_format == "random":
        return EventId(json["event_id"])
    return event_id_of_signed_bytes(signed_bytes(json, room_version), room_version)


def event_id_of_signed_bytes(data: bytes, room_version: RoomVersion) -> EventId:
    """The same for an event whose :func:`signed_bytes` are at hand, of any room version since 3."""
    encode = encode_base64 if room_version.event_format.event_id_format == "hash" else encode_base64_url_safe
    return EventId("$" + encode(sha256(data).digest()))
