"""One transaction: which rows of a queue go into it, and its body.

Spec: server-server-api/#transactions
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import orjson

from conduit_py.data import sending, timeline
from conduit_py.data.short_ids import get_room_record
from conduit_py.matrix.canonical_json import encode_canonical_json, parse_json
from conduit_py.matrix.edus import RECEIPT, merge_receipts
from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortEventId

PDUS_MAX: Final = 50
EDUS_MAX: Final = 100
BYTES_MAX: Final = 1_000_000
"""What a proxy lets through whose operator never thought of it. One row that is larger goes alone."""

_RECEIPT_END: Final = b'"edu_type":"%s"}' % RECEIPT.encode()
"""How a receipt ends in canonical JSON."""


@dataclass(slots=True)
class Rows:
    """Rows of one server's queue that go into one transaction."""

    pdus: list[bytes] = field(default_factory=list)
    """Canonical JSON, as EDUs are."""
    edus: list[bytes] = field(default_factory=list)
    event_places: list[int] = field(default_factory=list)
    edu_places: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.event_places or self.edu_places)

    @property
    def event_until(self) -> int:
        return self.event_places[-1] if self.event_places else 0

    @property
    def edu_until(self) -> int:
        return self.edu_places[-1] if self.edu_places else 0


def read_next(snapshot: Snapshot, server_name: ServerName, before: Rows) -> Rows:
    """As many rows as fit, from those that follow ``before``. EDUs have room where events leave some."""
    rows = Rows()
    events = sending.scan_events(snapshot, server_name, after=before.event_until)
    left = BYTES_MAX
    for pos, event in islice(events, PDUS_MAX):
        pdu = read_pdu(snapshot, event)
        left -= len(pdu)
        if left < 0 and rows:
            return rows
        rows.event_places.append(pos)
        rows.pdus.append(pdu)
    for pos, edu in islice(sending.scan_edus(snapshot, server_name, after=before.edu_until), EDUS_MAX):
        left -= len(edu.json)
        if left < 0 and rows:
            return rows
        rows.edu_places.append(pos)
        rows.edus.append(edu.json)
    return rows


def read_in_flight(snapshot: Snapshot, server_name: ServerName, *, event_until: int, edu_until: int) -> Rows:
    """The rows of a transaction that was opened before."""
    rows = Rows()
    for pos, event in sending.scan_events(snapshot, server_name, until=event_until) if event_until else ():
        rows.event_places.append(pos)
        rows.pdus.append(read_pdu(snapshot, event))
    for pos, edu in sending.scan_edus(snapshot, server_name, until=edu_until) if edu_until else ():
        rows.edu_places.append(pos)
        rows.edus.append(edu.json)
    return rows


def read_pdu(snapshot: Snapshot, event: ShortEventId) -> bytes:
    """An event as servers exchange it, in canonical JSON."""
    row = timeline.require_row(snapshot, event)
    room_id = RoomId(get_room_record(snapshot, row.room).room_id)
    return encode_canonical_json(parse_json(timeline.federation_json(row, room_id)), strict=False)


def build_body(rows: Rows, passing: list[bytes], *, origin: ServerName, now_ms: int) -> bytes:
    """The transaction in canonical JSON, put together from what is canonical already."""
    return b'{"edus":[%s],"origin":%s,"origin_server_ts":%d,"pdus":[%s]}' % (
        b",".join((*_merge_receipts(rows.edus), *passing)),
        orjson.dumps(origin),
        now_ms,
        b",".join(rows.pdus),
    )


def _merge_receipts(edus: list[bytes]) -> list[bytes]:
    """Receipts of many users, rooms and threads share EDUs."""
    apart = [edu for edu in edus if edu.endswith(_RECEIPT_END)]
    if len(apart) < 2:
        return edus
    merged = merge_receipts(parse_json(edu)["content"] for edu in apart)
    others = [edu for edu in edus if not edu.endswith(_RECEIPT_END)]
    return [*others, *(encode_canonical_json(edu, strict=False) for edu in merged)]
