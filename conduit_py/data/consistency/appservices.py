"""What waits for application services: ``kvschema.catalog.appservices``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.timeline import get_row
from conduit_py.storage.database import Snapshot
from kvschema.catalog import appservices, rooms
from kvschema.catalog.rooms import ByRoom, ShortEventId


def check_events(snapshot: Snapshot) -> Iterator[str]:
    """Events that wait are stored."""
    for key, event in appservices.APPSERVICEIDPOS_EVENT.scan(snapshot):
        if get_row(snapshot, ShortEventId(event)) is None:
            yield f"appserviceidpos_event: {key} is the event {event}, which there is not"


def check_sending(snapshot: Snapshot) -> Iterator[str]:
    """A row is of a transaction on its way, which reaches no further than positions have."""
    for key, row in appservices.APPSERVICEID_SENDING.scan(snapshot):
        if not row.txn_id:
            yield f"appserviceid_sending: {key} has nothing on its way"
        if row.until > snapshot.pos:
            yield f"appserviceid_sending: {key} reaches past the position {snapshot.pos}"


def check_listed(snapshot: Snapshot) -> Iterator[str]:
    """Rooms that networks list are rooms."""
    for key in appservices.INSTANCEIDROOMID.scan_keys(snapshot):
        if not rooms.SHORTROOMID_ROOM.has(snapshot, ByRoom(key.room)):
            yield f"instanceidroomid: there is no room {key.room}"
