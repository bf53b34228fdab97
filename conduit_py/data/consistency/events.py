"""Stored events, their ids, hashes and signatures, and the timelines: ``kvschema.catalog.timeline``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from conduit_py.data.consistency.derived import compare_tree
from conduit_py.data.consistency.server import get_server_name, get_signing_key
from conduit_py.data.timeline import CLIENT_KEYS, client_fields, federation_json, get_row
from conduit_py.matrix.canonical_json import load_json, parse_json
from conduit_py.matrix.hashes import content_hash_matches, event_id_of
from conduit_py.matrix.ids import EventId, KeyId, Malformed, RoomId, ServerName, parse_event_id
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.matrix.signing import InvalidSignature, VerifyKey, required_signers, verify_signed_json
from conduit_py.storage.database import Snapshot
from kvschema.catalog import rooms, timeline
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import ByShortEvent, EventRow, PduId

_FOR_EVER = 1 << 62


def check_event_ids(snapshot: Snapshot) -> Iterator[str]:
    """Every event id leads to a row with that id."""
    for key, event in timeline.EVENTID_SHORTEVENTID.scan(snapshot):
        row = timeline.SHORTEVENTID_PDU.get(snapshot, ByShortEvent(ShortEventId(event)))
        if row is None or row.event_id != key.event_id:
            found = "nothing" if row is None else row.event_id
            yield f"eventid_shorteventid: {key.event_id} leads to {event}, which is {found}"


def check_timelines(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: PduId, event: int) -> bool:
        row = timeline.SHORTEVENTID_PDU.get(snapshot, ByShortEvent(ShortEventId(event)))
        return row is not None and (row.room, row.pos) == key

    return compare_tree(
        snapshot,
        timeline.PDUID_SHORTEVENTID,
        ((PduId(row.room, row.pos), key.event) for key, row in timeline.SHORTEVENTID_PDU.scan(snapshot) if row.pos),
        follows,
    )


def check_events(snapshot: Snapshot) -> Iterator[str]:
    """Every row is an event of a room that there is, under its id, with the hashes and signatures it must have."""
    check = _EventCheck(snapshot)
    for key, row in timeline.SHORTEVENTID_PDU.scan(snapshot):
        where = f"shorteventid_pdu: {row.event_id} ({key.event})"
        for problem in check.problems(key.event, row):
            yield f"{where} {problem}"


class _EventCheck:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._server_name = get_server_name(snapshot)
        signing_key = get_signing_key(snapshot)
        self._keys: dict[KeyId, VerifyKey] = {}
        if signing_key is not None:
            self._keys[signing_key.key_id] = VerifyKey(signing_key.key_id, signing_key.public_key, _FOR_EVER)

    def problems(self, event: ShortEventId, row: EventRow) -> Iterator[str]:
        snapshot = self._snapshot
        if timeline.EVENTID_SHORTEVENTID.get(snapshot, timeline.ByEventId(row.event_id)) != event:
            yield "is not what its id leads to"
        room = rooms.SHORTROOMID_ROOM.get(snapshot, rooms.ByRoom(row.room))
        if room is None:
            yield f"belongs to room {row.room}, which there is not"
            return
        version = ROOM_VERSIONS.get(room.room_version)
        if version is None:
            return
        try:
            pdu = parse_row(row, RoomId(room.room_id), version)
        except Malformed as error:
            yield f"is not an event: {error}"
            return
        if pdu.room_id != room.room_id:
            yield f"begins the room {pdu.room_id}, and is in {room.room_id}"
        yield from self._about_flags(row, pdu)
        yield from self._about_content(row, pdu, version)
        yield from self._about_references(row, pdu)

    def _about_flags(self, row: EventRow, pdu: Pdu) -> Iterator[str]:
        if bool(row.flags & timeline.STATE) != (pdu.state_key is not None):
            yield "is marked wrongly as state or not"
        if bool(row.flags & timeline.OUTLIER) and (row.pos or row.state_after):
            yield "is an outlier with a place in its room"

    def _about_content(self, row: EventRow, pdu: Pdu, version: RoomVersion) -> Iterator[str]:
        json = pdu.json
        if event_id_of(json, version) != row.event_id:
            yield f"has the reference hash of {event_id_of(json, version)}"
        stripped = redact(json, version)
        if row.redacted_by and stripped != json:
            yield "was redacted, and has content that redaction takes away"
        if not content_hash_matches(json, version) and stripped != json:
            yield "has another content than its hash says"
        yield from self._about_signature(json, stripped, version)

    def _about_signature(self, json: Any, stripped: Any, version: RoomVersion) -> Iterator[str]:
        try:
            signers: frozenset[ServerName] = required_signers(json, version)
            if self._server_name in signers:
                verify_signed_json(stripped, server_name=self._server_name, keys=self._keys)
        except InvalidSignature as error:
            yield f"is ours, and: {error}"

    def _about_references(self, row: EventRow, pdu: Pdu) -> Iterator[str]:
        if row.redacted_by:
            redaction = get_row(self._snapshot, row.redacted_by)
            if redaction is None or redaction.room != row.room or not _says_so(redaction, row):
                yield f"was redacted by {row.redacted_by}, which does not redact it"
        if row.replaces:
            before = get_row(self._snapshot, row.replaces)
            if before is None or before.room != row.room or state_entry(before) != (pdu.type, pdu.state_key):
                yield f"took the place of {row.replaces}, which is no state of the same type and state key"


def _says_so(redaction: EventRow, row: EventRow) -> bool:
    """Up to room version 10, a redaction that was redacted itself no longer says of what."""
    said = redacted_id(redaction)
    return said == row.event_id or (said is None and bool(redaction.redacted_by))


def read_references(
    row: EventRow, kind: Literal["prev_events", "auth_events"], version: RoomVersion
) -> tuple[EventId, ...] | None:
    """The events that the event of a row refers to; None where that cannot be read: ``check_events`` tells of it.

    The rest of the event is not looked at, which takes most of the time that ``parse_row`` does.
    """
    is_paired = version.event_format.references_have_hashes
    try:
        references = load_json(b"{" + row.federation + b"}")[kind]
        return tuple(parse_event_id(reference[0] if is_paired else reference) for reference in references)
    except (Malformed, KeyError, TypeError, IndexError, AttributeError):
        return None


def parse_row(row: EventRow, room_id: RoomId, version: RoomVersion) -> Pdu:
    """The event of a row, its reference hash not looked at. Raises ``Malformed``."""
    client = parse_json(b"{" + row.client + b"}")
    federation = parse_json(b"{" + row.federation + b"}")
    if not client.keys() <= set(CLIENT_KEYS) or not federation.keys().isdisjoint((*CLIENT_KEYS, "event_id", "room_id")):
        raise Malformed("its members are on the wrong sides")
    return parse_pdu(parse_json(federation_json(row, room_id)), version, event_id=EventId(row.event_id))


def state_entry(row: EventRow) -> tuple[str, str] | None:
    """Type and state key of a state event, None for other events and for what cannot be read."""
    fields = read_fields(row) if row.flags & timeline.STATE else {}
    return (fields["type"], fields["state_key"]) if {"type", "state_key"} <= fields.keys() else None


def redacted_id(row: EventRow) -> str | None:
    """The event that a redaction redacts, wherever its room version keeps that."""
    fields = read_fields(row)
    if fields.get("type") != "m.room.redaction":
        return None
    redacts = fields.get("redacts") or fields["content"].get("redacts")
    return redacts if isinstance(redacts, str) else None


def read_fields(row: EventRow) -> dict[str, Any]:
    """What clients see, nothing of an event that cannot be read: ``check_events`` tells of it."""
    try:
        return client_fields(row)
    except Malformed:
        return {}
