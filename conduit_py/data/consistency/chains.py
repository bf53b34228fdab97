"""What state events were allowed by."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.consistency.derived import compare_tree
from conduit_py.data.consistency.events import read_references
from conduit_py.data.timeline import get_event, get_row
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.storage.database import Snapshot
from kvschema.catalog import rooms, timeline
from kvschema.catalog.rooms import ByRoom, ShortEventId
from kvschema.catalog.timeline import OUTLIER, STATE, ByShortEvent, EventRow


def check_auth_events(snapshot: Snapshot) -> Iterator[str]:
    """The auth events of every state event are noted, and were stored before it.

    Of an event without a place in its room not all need to be there.
    """

    def follows(key: ByShortEvent, events: tuple[ShortEventId, ...]) -> bool:
        row = get_row(snapshot, key.event)
        return row is not None and bool(row.flags & STATE)

    yield from compare_tree(snapshot, timeline.SHORTEVENTID_AUTHEVENTS, _expected(snapshot), follows)
    for key, events in timeline.SHORTEVENTID_AUTHEVENTS.scan(snapshot):
        for event in events:
            if event >= key.event:
                yield f"shorteventid_authevents: {key.event} was allowed by {event}, which is no older"


def _expected(snapshot: Snapshot) -> Iterator[tuple[ByShortEvent, tuple[ShortEventId, ...]]]:
    for key, row in timeline.SHORTEVENTID_PDU.scan(snapshot):
        if not row.flags & STATE or row.flags & OUTLIER:
            continue
        event_ids = _read(snapshot, row)
        if event_ids is not None:
            shorts = (get_event(snapshot, event_id) for event_id in event_ids)
            yield key, tuple(short for short in shorts if short is not None)


def _read(snapshot: Snapshot, row: EventRow) -> tuple[EventId, ...] | None:
    record = rooms.SHORTROOMID_ROOM.get(snapshot, ByRoom(row.room))
    version = None if record is None else ROOM_VERSIONS.get(record.room_version)
    return None if version is None else read_references(row, "auth_events", version)
