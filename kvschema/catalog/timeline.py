"""Events and their order."""

from __future__ import annotations

import struct
from typing import NamedTuple

from kvschema.catalog.rooms import ShortEventId, ShortRoomId, StateId
from kvschema.codec import COUNT, I64, NOTHING, U64, Fixed, Key, Text, Value, record
from kvschema.errors import CorruptValue
from kvschema.tree import Tree

REJECTED = 1
"""Failed the authorization rules: kept so that it is not fetched again, never shown, never in state."""
SOFT_FAILED = 2
"""Allowed by its own history but not by the current state: kept, not shown to clients."""
OUTLIER = 4
"""Known without its place in the room: neither timeline position nor state."""
STATE = 8
"""Has a state_key."""
FULL_IDS = 16
"""The server-to-server form carries event_id (room versions 1 and 2)."""
NO_ROOM_ID = 32
"""The server-to-server form has no room_id (create events of room version 12)."""


class EventRow(NamedTuple):
    """One event. ``client`` and ``federation`` are JSON members without braces, so forms are made by joining bytes.

    ``client`` holds what clients see (content, origin_server_ts, sender, state_key, type, redacts) and ``federation``
    the rest (auth_events, depth, hashes, prev_events, signatures, ...). Neither holds event_id, room_id or unsigned.
    """

    flags: int
    room: ShortRoomId
    pos: int
    """Place in the room's timeline: a stream position, below zero for events fetched from before; 0 for none."""
    state_after: StateId
    """The room's state after this event, 0 for outliers."""
    replaces: ShortEventId
    """The state event that this state event took the place of, 0 for none."""
    redacted_by: ShortEventId
    """The redaction that stripped this event, 0 for none."""
    event_id: str
    client: bytes
    federation: bytes


_HEADER = struct.Struct(">BQqQQQHI")


def _encode_event(row: EventRow) -> bytes:
    event_id = row.event_id.encode()
    header = _HEADER.pack(*row[:6], len(event_id), len(row.client))
    return b"".join((header, event_id, row.client, row.federation))


def _decode_event(raw: bytes) -> EventRow:
    try:
        flags, room, pos, state_after, replaces, redacted_by, id_bytes, client_bytes = _HEADER.unpack_from(raw)
        client_at = _HEADER.size + id_bytes
        event_id = raw[_HEADER.size : client_at].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise CorruptValue(f"an event row of {len(raw)} bytes") from error
    federation_at = client_at + client_bytes
    if federation_at > len(raw):
        raise CorruptValue(f"an event row of {len(raw)} bytes where at least {federation_at} were expected")
    return EventRow(
        flags,
        room,
        pos,
        state_after,
        replaces,
        redacted_by,
        event_id,
        raw[client_at:federation_at],
        raw[federation_at:],
    )


EVENT: Value[EventRow] = Value("event row 1", _encode_event, _decode_event)


_SHORT_BYTES = 8


def _encode_shorts(events: tuple[ShortEventId, ...]) -> bytes:
    return struct.pack(f">{len(events)}Q", *events)


def _decode_shorts(raw: bytes) -> tuple[ShortEventId, ...]:
    count, rest = divmod(len(raw), _SHORT_BYTES)
    if rest:
        raise CorruptValue(f"{len(raw)} bytes that are no short ids")
    return struct.unpack(f">{count}Q", raw)


SHORT_EVENTS: Value[tuple[ShortEventId, ...]] = Value("short ids 1", _encode_shorts, _decode_shorts)


class ByShortEvent(NamedTuple):
    event: ShortEventId


class ByEventId(NamedTuple):
    event_id: str


class PduId(NamedTuple):
    """Place of one event in its room's timeline. Sorts in timeline order; fetched history lies below zero."""

    room: ShortRoomId
    pos: int


class Gap(NamedTuple):
    """What is missing right before an event of a timeline, and the places that are kept for it."""

    next_pos: int
    """The place of the next event that is fetched: they are put in from the newest to the oldest."""
    last_pos: int
    """The last place that may be used."""
    missing: list[str]
    """Events that those after the gap refer to, and that are not held; at most MISSING_MAX."""


class EarlyRedaction(NamedTuple):
    """A redaction of an event that has not been received."""

    room: ShortRoomId
    digest: bytes
    """BLAKE2b-16 of the event's id, which is somebody else's choice."""
    redaction: ShortEventId


class RoomTime(NamedTuple):
    """An event of a timeline by when its sender's server says it was sent."""

    room: ShortRoomId
    ts_ms: int
    pos: int


EVENTID_SHORTEVENTID: Tree[ByEventId, int] = Tree(
    "eventid_shorteventid",
    Key(ByEventId, (Text(),)),
    COUNT,
    since=1,
    doc="The short id of an event that is stored.",
    bound="one row per stored event; goes with its room",
)
SHORTEVENTID_PDU: Tree[ByShortEvent, EventRow] = Tree(
    "shorteventid_pdu",
    Key(ByShortEvent, (U64(),)),
    EVENT,
    since=1,
    doc="Every stored event: its standing, place, state and body. Conduit's pduid_pdu and eventid_outlierpdu.",
    bound="one row per stored event; goes with its room",
    append=True,
)
PDUID_SHORTEVENTID: Tree[PduId, int] = Tree(
    "pduid_shorteventid",
    Key(PduId, (U64(), I64())),
    COUNT,
    since=1,
    doc="The timeline of each room, in order.",
    bound="one row per event in a timeline; goes with its room",
    derived="shorteventid_pdu",
)

ROOMTIME_SHORTEVENTID: Tree[RoomTime, int] = Tree(
    "roomtime_shorteventid",
    Key(RoomTime, (U64(), I64(), I64())),
    COUNT,
    since=1,
    doc="The timeline of each room in the order of origin_server_ts, for whoever looks for a day.",
    bound="one row of 32 bytes per event in a timeline; goes with its room",
    derived="shorteventid_pdu",
)
SHORTEVENTID_AUTHEVENTS: Tree[ByShortEvent, tuple[ShortEventId, ...]] = Tree(
    "shorteventid_authevents",
    Key(ByShortEvent, (U64(),)),
    SHORT_EVENTS,
    since=1,
    doc="The auth events of each state event, so that auth chains are walked without decoding events.",
    bound="one row per stored state event, of at most ten short ids; goes with its room",
    derived="shorteventid_pdu",
    append=True,
)
ROOMID_GAP: Tree[PduId, Gap] = Tree(
    "roomid_gap",
    Key(PduId, (U64(), I64())),
    record(Gap),
    since=1,
    doc="Where history is missing: right before the event at this place of the timeline.",
    bound="one row per hole that a time without connection left, and one before a room; goes with its room",
)
EARLYREDACTION: Tree[EarlyRedaction, None] = Tree(
    "redactedid_redaction",
    Key(EarlyRedaction, (U64(), Fixed(16), U64())),
    NOTHING,
    since=1,
    doc="Redactions that wait for what they redact.",
    bound="at most one row per stored redaction; goes with its room, or when the redacted event arrives",
)

TREES = (
    EVENTID_SHORTEVENTID,
    SHORTEVENTID_PDU,
    PDUID_SHORTEVENTID,
    ROOMTIME_SHORTEVENTID,
    SHORTEVENTID_AUTHEVENTS,
    ROOMID_GAP,
    EARLYREDACTION,
)
