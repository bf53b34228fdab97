"""The list of what notified a user.

It is kept beside what is unread, since it outlives being read; how much of it is kept is bounded.

Spec: client-server-api/#listing-notifications
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import orjson

from conduit_py.data import notified, row_fields, short_ids, timeline
from conduit_py.data.search import get_event_at
from conduit_py.matrix.ids import RoomId
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.client_events import ClientEvents
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.receipts import Notified
from kvschema.catalog.timeline import STATE

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
"""Notifications in one answer, however many were asked for."""
SCANNED_MAX = 500
"""Rows looked at for one answer, about 10 ms."""


class NotificationService:
    """One per server."""

    def __init__(self, database: Database, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms

    def get_notifications(
        self, requester: Requester, *, before: int | None, limit: int | None, highlights_only: bool
    ) -> bytes:
        """What notified the requester, the newest first, as JSON. ``before`` is the place a token names.

        Spec: client-server-api/#get_matrixclientv3notifications
        """
        limit = LIMIT_DEFAULT if limit is None else min(limit, LIMIT_MAX)
        told: list[bytes] = []
        at = before
        with self._database.snapshot() as snapshot:
            read = _Reader(snapshot, requester, self._now_ms())
            rows = notified.scan_notified(snapshot, requester.user, before=before)
            for pos, row in islice(rows, SCANNED_MAX):
                if len(told) >= limit:
                    break
                at = pos
                rendered = b"" if highlights_only and not row.is_highlight else read(pos, row)
                if rendered:
                    told.append(rendered)
            has_more = next(notified.scan_notified(snapshot, requester.user, before=at), None) is not None
        answer = b'{"notifications":[' + b",".join(told) + b"]"
        return answer + (b',"next_token":"%d"}' % at if has_more and at is not None else b"}")


class _Reader:
    """Reads and renders notifications in one snapshot."""

    def __init__(self, snapshot: Snapshot, requester: Requester, now_ms: int) -> None:
        self._snapshot = snapshot
        self._requester = requester
        self._visibility = Visibility(snapshot, requester.user_id)
        self._events = ClientEvents(snapshot, requester, self._visibility, now_ms=now_ms)
        self._ignored = get_ignored_users(snapshot, requester.user)

    def __call__(self, pos: int, row: Notified) -> bytes:
        """Empty for an event that was redacted, or that the user does not see any more."""
        event = get_event_at(self._snapshot, row.room, pos)
        if event is None:
            return b""
        stored = timeline.require_row(self._snapshot, event)
        if stored.redacted_by or not self._visibility.may_see(stored):
            return b""
        if row_fields.get_sender(stored) in self._ignored and not stored.flags & STATE:
            return b""
        room_id = RoomId(short_ids.get_room_record(self._snapshot, row.room).room_id)
        return orjson.dumps(
            {
                "actions": row.actions,
                "event": orjson.Fragment(self._events.render(event, stored, room_id=None)),
                "read": not notified.is_unread(self._snapshot, self._requester.user, row.room, pos),
                "room_id": room_id,
                "ts": row_fields.get_origin_server_ts(stored),
            }
        )
