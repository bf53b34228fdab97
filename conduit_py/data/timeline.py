"""Events: their stored form, the two wire forms made from it, and their order.

An event row holds what clients see and what only servers see as two JSON fragments without braces
(``kvschema.catalog.timeline.EventRow``), so neither form is decoded to be passed on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import canonicaljson
import orjson

from conduit_py.data.digest import digest
from conduit_py.data.short_ids import get_room_record
from conduit_py.matrix.canonical_json import load_json
from conduit_py.matrix.ids import EventId, RoomId
from conduit_py.matrix.pdu import Pdu, build_pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import timeline
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.timeline import EventRow, PduId, RoomTime

BRACKET_BYTES = 60
_ROW_BYTES = 350
"""What a row in memory takes beside its strings."""
CLIENT_KEYS = ("content", "origin_server_ts", "redacts", "sender", "state_key", "type")
"""Members of an event that clients see, beside event_id, room_id and unsigned."""
_NOWHERE = frozenset({"event_id", "room_id", "unsigned", *CLIENT_KEYS})
_POS_MIN, _POS_MAX = -(1 << 63), (1 << 63) - 1


def get_event(snapshot: Snapshot, event_id: EventId) -> ShortEventId | None:
    """The short id of a stored event."""
    short = timeline.EVENTID_SHORTEVENTID.get(snapshot, timeline.ByEventId(event_id))
    return None if short is None else ShortEventId(short)


def get_row(snapshot: Snapshot, event: ShortEventId) -> EventRow | None:
    cached: EventRow | None = snapshot.cache.get(("event", event), snapshot.pos)
    if cached is None:
        cached = timeline.SHORTEVENTID_PDU.get(snapshot, timeline.ByShortEvent(event))
        if cached is not None:
            snapshot.cache.put(("event", event), cached, _size_of(cached), snapshot.pos)
    return cached


def _size_of(row: EventRow) -> int:
    return _ROW_BYTES + len(row.client) + len(row.federation) + len(row.event_id)


def require_row(snapshot: Snapshot, event: ShortEventId) -> EventRow:
    """The row of an event that another row refers to."""
    row = get_row(snapshot, event)
    assert row is not None, f"event {event} is referred to and not stored"
    return row


def find_row(snapshot: Snapshot, event_id: EventId) -> tuple[ShortEventId, EventRow] | None:
    event = get_event(snapshot, event_id)
    return None if event is None else (event, require_row(snapshot, event))


def get_pdu(snapshot: Snapshot, event: ShortEventId) -> Pdu:
    """A stored event as the rules see it; ``rejected`` says how it fared."""
    cached: Pdu | None = snapshot.cache.get(("pdu", event), snapshot.pos)
    if cached is None:
        row = require_row(snapshot, event)
        record = get_room_record(snapshot, row.room)
        cached = pdu_of_row(row, RoomId(record.room_id), ROOM_VERSIONS[record.room_version])
        snapshot.cache.put(("pdu", event), cached, _estimate_bytes(row), snapshot.pos)
    return cached


def _estimate_bytes(row: EventRow) -> int:
    """What a decoded event takes: about six times the room of its JSON, and much more if it is full of empty lists."""
    fragments = (row.client, row.federation)
    return sum(6 * len(it) + BRACKET_BYTES * (it.count(b"[") + it.count(b"{")) for it in fragments)


def pdu_of_row(row: EventRow, room_id: RoomId, room_version: RoomVersion) -> Pdu:
    pdu = build_pdu(load_json(federation_json(row, room_id)), room_version, event_id=EventId(row.event_id))
    return replace(pdu, rejected=True) if row.flags & timeline.REJECTED else pdu


def federation_json(row: EventRow, room_id: RoomId) -> bytes:
    """The event as servers exchange it. Spec: server-server-api/#pdus"""
    parts = [row.client, row.federation]
    if not row.flags & timeline.NO_ROOM_ID:
        parts.append(b'"room_id":' + orjson.dumps(room_id))
    if row.flags & timeline.FULL_IDS:
        parts.append(b'"event_id":' + orjson.dumps(row.event_id))
    return b"{" + b",".join(parts) + b"}"


def client_json(row: EventRow, unsigned: bytes, *, room_id: RoomId | None) -> bytes:
    """The event as clients see it. ``unsigned`` is a JSON object; ``room_id`` is None inside /sync.

    Spec: client-server-api/#room-event-format
    """
    where = b"" if room_id is None else b',"room_id":' + orjson.dumps(room_id)
    return b"".join(
        (b"{", row.client, b',"event_id":', orjson.dumps(row.event_id), where, b',"unsigned":', unsigned, b"}")
    )


def client_fields(row: EventRow) -> dict[str, Any]:
    """What clients see of the event, parsed: content, origin_server_ts, sender, state_key, type."""
    return cast("dict[str, Any]", load_json(b"{" + row.client + b"}"))


def split_pdu(json: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The two fragments of an event row."""
    client = {key: json[key] for key in CLIENT_KEYS if key in json}
    federation = {key: value for key, value in json.items() if key not in _NOWHERE}
    return _fragment(client), _fragment(federation)


def _fragment(json: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(json)[1:-1]
    except TypeError:  # integers beyond 64 bits, allowed before room version 6
        return bytes(canonicaljson.encode_canonical_json(json))[1:-1]


def row_flags(pdu: Pdu, room_version: RoomVersion) -> int:
    """The flags that follow from the event itself."""
    event_format = room_version.event_format
    return (
        (timeline.STATE if pdu.state_key is not None else 0)
        | (timeline.FULL_IDS if event_format.event_id_format == "random" else 0)
        | (timeline.NO_ROOM_ID if "room_id" not in pdu.json else 0)
        | (timeline.REJECTED if pdu.rejected else 0)
    )


def stage_event(turn: Turn, event: ShortEventId, row: EventRow, *, ts_ms: int) -> None:
    """A new event, with its place in the timeline if it has one. ``ts_ms`` is its ``origin_server_ts``."""
    turn.batch.put(timeline.EVENTID_SHORTEVENTID, timeline.ByEventId(row.event_id), event)
    turn.batch.put(timeline.SHORTEVENTID_PDU, timeline.ByShortEvent(event), row)
    if row.pos:
        # The next event refers to it, and whoever is in the room is shown it.
        turn.keep(("event", event), row, _size_of(row))
        turn.batch.put(timeline.PDUID_SHORTEVENTID, PduId(row.room, row.pos), event)
        turn.batch.put(timeline.ROOMTIME_SHORTEVENTID, room_time(row, ts_ms), event)


def room_time(row: EventRow, ts_ms: int) -> RoomTime:
    """Where an event stands by time. Before room version 6 a time may be any integer: what is too far off is nearer."""
    return RoomTime(row.room, max(_POS_MIN, min(ts_ms, _POS_MAX)), row.pos)


def stage_row(turn: Turn, event: ShortEventId, row: EventRow) -> None:
    """A stored event in another form, such as redacted."""
    turn.changes(("event", event), ("pdu", event), ("facts", event))
    turn.batch.put(timeline.SHORTEVENTID_PDU, timeline.ByShortEvent(event), row)


def stage_moved(turn: Turn, before: ShortEventId) -> None:
    """An event that had no place is stored anew, under another short id."""
    turn.changes(("event", before), ("pdu", before), ("facts", before), ("authevents", before))
    turn.batch.delete(timeline.SHORTEVENTID_PDU, timeline.ByShortEvent(before))
    turn.batch.delete(timeline.SHORTEVENTID_AUTHEVENTS, timeline.ByShortEvent(before))


def scan_early_redactions(snapshot: Snapshot, room: ShortRoomId, event_id: EventId) -> Iterator[ShortEventId]:
    """Redactions that were received before what they redact."""
    for key in timeline.EARLYREDACTION.scan_keys(snapshot, room, digest(event_id)):
        yield key.redaction


def stage_early_redaction(
    turn: Turn, room: ShortRoomId, event_id: EventId, redaction: ShortEventId, *, waits: bool
) -> None:
    """A redaction waits for what it redacts, or does not any more."""
    key = timeline.EarlyRedaction(room, digest(event_id), redaction)
    if waits:
        turn.batch.put(timeline.EARLYREDACTION, key, None)
    else:
        turn.batch.delete(timeline.EARLYREDACTION, key)


def scan_timeline(
    snapshot: Snapshot, room: ShortRoomId, *, after: int | None = None, until: int | None = None, reverse: bool = False
) -> Iterator[tuple[int, ShortEventId]]:
    """(place, event) in timeline order, strictly past ``after`` and up to ``until`` in the direction of the scan.

    Never past the position of the snapshot, so that a token taken from it covers all that was seen.
    """
    start = None if after is None else PduId(room, after)
    stop = None if until is None else PduId(room, until)
    for key, event in timeline.PDUID_SHORTEVENTID.scan(snapshot, room, after=start, until=stop, reverse=reverse):
        yield key.pos, ShortEventId(event)


def scan_by_time(
    snapshot: Snapshot, room: ShortRoomId, ts_ms: int, *, reverse: bool = False
) -> Iterator[tuple[int, ShortEventId]]:
    """(ms, event) from a time on, in the order of ``origin_server_ts``; with ``reverse`` back from that time."""
    ts_ms = max(_POS_MIN + 1, min(ts_ms, _POS_MAX))
    start = RoomTime(room, ts_ms, _POS_MAX) if reverse else RoomTime(room, ts_ms - 1, _POS_MAX)
    for key, event in timeline.ROOMTIME_SHORTEVENTID.scan(snapshot, room, after=start, reverse=reverse):
        yield key.ts_ms, ShortEventId(event)


def get_last_pos(snapshot: Snapshot, room: ShortRoomId) -> int:
    """Place of the newest event of a room's timeline, 0 for none."""
    return next((pos for pos, _ in scan_timeline(snapshot, room, reverse=True)), 0)
