"""A PDU as a value: one room event in the federation format, parsed and checked against its room version's format.

Spec: server-server-api/#pdus
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conduit_py.matrix.event_format import check_event_format
from conduit_py.matrix.hashes import event_id_of
from conduit_py.matrix.ids import EventId, Malformed, RoomId, UserId
from conduit_py.matrix.room_versions import RoomVersion

__all__ = ["Malformed", "Pdu", "parse_pdu"]


@dataclass(frozen=True, slots=True)
class Pdu:
    """One event that has the form its room version demands. Says nothing about signatures, hashes or authorisation."""

    event_id: EventId
    room_id: RoomId
    """For the create event of room version 12 and later, which carries none: ``!`` and the hash of its event ID."""
    type: str
    sender: UserId
    state_key: str | None
    content: Mapping[str, Any]
    origin_server_ts: int
    """Milliseconds since the epoch, as claimed by the sender's server."""
    depth: int
    prev_events: tuple[EventId, ...]
    auth_events: tuple[EventId, ...]
    redacts: EventId | None
    """From the place that the room version gives it; ``None`` for every type but ``m.room.redaction``."""
    hashes: Mapping[str, Any]
    signatures: Mapping[str, Any]
    json: Mapping[str, Any]
    """The whole event in the federation format, without ``unsigned``. Never change it: other values share its parts."""
    rejected: bool = False

    def __hash__(self) -> int:
        """Equal events have equal IDs; the rest of the fields cannot be hashed."""
        return hash(self.event_id)


def parse_pdu(json: Any, room_version: RoomVersion, *, event_id: EventId | None = None) -> Pdu:
    """Check any parsed JSON against the event format and give it a type.

    Raises :class:`Malformed` with the limit that is broken; ``TooLarge`` when that limit is a size.

    ``event_id`` may be passed for an event of a known ID (one that comes out of the store), which saves computing the
    reference hash; room versions 1 and 2 carry the ID in the event, and that one counts.
    """
    if isinstance(json, dict) and "unsigned" in json:
        json = {key: value for key, value in json.items() if key != "unsigned"}
    check_event_format(json, room_version)
    return build_pdu(json, room_version, event_id=event_id)


def build_pdu(json: Mapping[str, Any], room_version: RoomVersion, *, event_id: EventId | None = None) -> Pdu:
    """:func:`parse_pdu` for an event that is known to have the right format and no ``unsigned``."""
    event_format = room_version.event_format
    if event_format.event_id_format == "random":
        event_id = json["event_id"]
    elif event_id is None:
        event_id = event_id_of(json, room_version)
    references = _paired_event_ids if event_format.references_have_hashes else tuple
    has_room_id = event_format.create_has_room_id or json["type"] != "m.room.create"
    return Pdu(
        event_id,
        json["room_id"] if has_room_id else RoomId("!" + event_id[1:]),
        json["type"],
        json["sender"],
        json.get("state_key"),
        json["content"],
        json["origin_server_ts"],
        json["depth"],
        references(json["prev_events"]),
        references(json["auth_events"]),
        _redacts(json, in_content=event_format.redacts_in_content),
        json["hashes"],
        json["signatures"],
        json,
    )


def _paired_event_ids(references: Sequence[Sequence[Any]]) -> tuple[EventId, ...]:
    return tuple(EventId(reference[0]) for reference in references)


def _redacts(json: Mapping[str, Any], *, in_content: bool) -> EventId | None:
    if json["type"] != "m.room.redaction":
        return None
    redacts = (json["content"] if in_content else json).get("redacts")
    return EventId(redacts) if isinstance(redacts, str) and redacts.startswith("$") else None
