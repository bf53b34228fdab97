"""Finding the event of a room that was sent at some time.

Spec: client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from __future__ import annotations

from itertools import islice

from conduit_py.data import timeline
from conduit_py.matrix.ids import EventId, RoomId
from conduit_py.service.errors import NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import require_access
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database

SCANNED_MAX = 500
"""Events looked at for one that may be seen, about 10 ms."""


class TimestampService:
    """One per server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_event(
        self, requester: Requester, room_id: RoomId, ts_ms: int, *, is_backwards: bool
    ) -> tuple[EventId, int]:
        """The event closest to a time that the requester may see, and its own time in ms: at it, or on one side of it.

        Raises ``Forbidden`` or ``NotFound``.

        Spec: client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
        """
        with self._database.snapshot() as snapshot:
            access = require_access(snapshot, requester, room_id)
            visibility = Visibility(snapshot, requester.user_id)
            found = timeline.scan_by_time(snapshot, access.room, ts_ms, reverse=is_backwards)
            for event_ts_ms, event in islice(found, SCANNED_MAX):
                row = timeline.require_row(snapshot, event)
                if row.pos <= access.until and visibility.may_see(row):
                    return EventId(row.event_id), event_ts_ms
        side = "before" if is_backwards else "after"
        raise NotFound(f"there is no event right {side} {ts_ms} that you may see")
