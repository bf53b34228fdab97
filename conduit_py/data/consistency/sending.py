"""What waits for other servers: ``kvschema.catalog.sending``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.timeline import get_row
from conduit_py.matrix.canonical_json import encode_canonical_json, parse_json
from conduit_py.matrix.edus import parse_edu
from conduit_py.matrix.ids import Malformed
from conduit_py.storage.database import Snapshot
from kvschema.catalog import sending
from kvschema.catalog.rooms import ShortEventId


def check_events(snapshot: Snapshot) -> Iterator[str]:
    """Events that wait are stored."""
    for key, event in sending.SERVERNAMEPOS_EVENT.scan(snapshot):
        if get_row(snapshot, ShortEventId(event)) is None:
            yield f"servernameevent_data: {key} is the event {event}, which there is not"


def check_last_events(snapshot: Snapshot) -> Iterator[str]:
    """The last event of a room that waits is one of that room."""
    for key, event in sending.SERVERNAMEROOM_EVENT.scan(snapshot):
        row = get_row(snapshot, ShortEventId(event))
        if row is None or row.room != key.room:
            yield f"servernameroom_lastevent: {key} is the event {event}, which is not in it"


def check_edus(snapshot: Snapshot) -> Iterator[str]:
    """EDUs that wait are EDUs, in the form over which a transaction is signed."""
    for key, row in sending.SERVERNAMEPOS_EDU.scan(snapshot):
        try:
            edu = parse_json(row.json)
            parse_edu(edu)
            is_canonical = encode_canonical_json(edu, strict=False) == row.json
        except Malformed as error:
            yield f"servernameedu_data: {key} is no EDU: {error}"
        else:
            if not is_canonical:
                yield f"servernameedu_data: {key} is not canonical"


def check_sending(snapshot: Snapshot) -> Iterator[str]:
    """A row is of a transaction on its way, which reaches no further than positions have."""
    for key, row in sending.SERVERNAME_SENDING.scan(snapshot):
        if not row.txn_id:
            yield f"servername_sending: {key} has nothing on its way"
        if max(row.event_until, row.edu_until) > snapshot.pos:
            yield f"servername_sending: {key} reaches past the position {snapshot.pos}"
