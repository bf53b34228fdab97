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


def check_outside(snapshot: Snapshot) -> Iterator[str]:
    """Events of rooms not held here that wait have an id and stand at places of their own."""
    for key, text in appservices.APPSERVICEIDPOS_OUTSIDE.scan(snapshot):
        if b'"event_id":' not in text:
            yield f"appserviceidpos_outside: {key} is no event"
        if appservices.APPSERVICEIDPOS_EVENT.has(snapshot, key):
            yield f"appserviceidpos_outside: at {key} waits another event"


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
