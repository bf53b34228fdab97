"""Building our own events: from the parts to a hashed and signed PDU.

Nothing here reads a clock or draws random numbers: timestamps and (for room versions 1 and 2) event IDs are passed in.

Spec: server-server-api/#adding-hashes-and-signatures-to-outgoing-events
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from conduit_py.matrix.hashes import content_hash, encode_base64, event_id_of_signed_bytes, signed_bytes
from conduit_py.matrix.ids import EventId, RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import SigningKey, add_signature

_SET_WHEN_SIGNING: Final = frozenset({"event_id", "hashes", "signatures", "unsigned"})
_NO_HASHES: Final[Mapping[EventId, bytes]] = MappingProxyType({})


def build_event(
    *,
    room_version: RoomVersion,
    room_id: RoomId | None,
    type: str,
    sender: UserId,
    state_key: str | None,
    content: Mapping[str, Any],
    prev_events: Sequence[EventId],
    auth_events: Sequence[EventId],
    depth: int,
    origin_server_ts: int,
    redacts: EventId | None = None,
    reference_hashes: Mapping[EventId, bytes] = _NO_HASHES,
) -> dict[str, Any]:
    """An event in the format of ``room_version``, without hashes, signatures and event ID.

    ``room_id`` is ``None`` for the create event of room version 12 and later, and for nothing else. ``depth`` above the
    version's limit is lowered to it. ``redacts`` is put where the version has it. ``reference_hashes`` is read in room
    versions 1 and 2 alone, where references carry hashes; one that is not given is written as an empty object (no
    server has ever checked them). Checks nothing: :func:`sign_and_hash` does.
    """
    event_format = room_version.event_format
    if (room_id is None) != (type == "m.room.create" and not event_format.create_has_room_id):
        raise ValueError(f"room_id is {room_id!r} for {type} in room version {room_version.id}")
    event: dict[str, Any] = {
        "type": type,
        "sender": sender,
        "content": dict(content),
        "prev_events": _references(prev_events, reference_hashes, room_version),
        "auth_events": _references(auth_events, reference_hashes, room_version),
        "depth": min(depth, event_format.depth_max),
        "origin_server_ts": origin_server_ts,
    }
    if room_id is not None:
        event["room_id"] = room_id
    if state_key is not None:
        event["state_key"] = state_key
    if redacts is not None:
        (event["content"] if event_format.redacts_in_content else event)["redacts"] = redacts
    return event


def sign_and_hash(
    proto: Mapping[str, Any],
    room_version: RoomVersion,
    server_name: ServerName,
    signing_key: SigningKey,
    *,
    event_id: EventId | None = None,
) -> Pdu:
    """Add content hash, signature and event ID to what :func:`build_event` gave, or to a ``make_join`` template.

    ``event_id`` is required in room versions 1 and 2 and refused in all others; it and the signature replace whatever
    another server's template claims. Raises ``TooLarge`` when a size limit is broken, :class:`Malformed` for everything
    else that the event format forbids.
    """
    if (event_id is None) == (room_version.event_format.event_id_format == "random"):
        raise ValueError(f"event_id is {event_id!r} in room version {room_version.id}")
    event = {key: value for key, value in proto.items() if key not in _SET_WHEN_SIGNING}
    if event_id is not None:
        event["event_id"] = event_id
    event["hashes"] = {"sha256": encode_base64(content_hash(event, room_version))}
    data = signed_bytes(event, room_version)
    signed = add_signature(event, server_name, signing_key.key_id, signing_key.sign(data))
    return parse_pdu(signed, room_version, event_id=event_id or event_id_of_signed_bytes(data, room_version))


def _references(
    event_ids: Sequence[EventId], reference_hashes: Mapping[EventId, bytes], room_version: RoomVersion
) -> list[Any]:
    if not room_version.event_format.references_have_hashes:
        return list(event_ids)
    return [
        [event_id, {"sha256": encode_base64(reference_hashes[event_id])} if event_id in reference_hashes else {}]
        for event_id in event_ids
    ]
