"""The list of what notified a user: the user's rooms merged, the newest event first.

How much of it is kept is bounded by room, and one answer looks at a bounded number of events beside the newest of each
room.

Spec: client-server-api/#listing-notifications
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heapreplace
from itertools import islice

import orjson

from conduit_py.data import members, notified, row_fields, short_ids, timeline
from conduit_py.data.notified import Group, UnreadInRoom
from conduit_py.data.search import get_event_at
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.client_events import ClientEvents
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.members import BAN, INVITE, JOIN, LEAVE
from kvschema.catalog.receipts import Notified
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId
from kvschema.catalog.timeline import STATE

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
"""Notifications in one answer, however many were asked for."""
SCANNED_MAX = 2000
"""Events looked at for one answer, most of which notified others: about 10 ms."""
_KINDS = (JOIN, INVITE, LEAVE, BAN)


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
        limit = LIMIT_DEFAULT if limit is None else max(1, min(limit, LIMIT_MAX))
        told: list[bytes] = []
        at = 0
        with self._database.snapshot() as snapshot:
            read = _Reader(snapshot, requester, self._now_ms())
            user = notified.to_bytes(requester.user)
            merged = _Merged(snapshot, requester.user, before)
            for room, pos, row in islice(merged, SCANNED_MAX):
                at = pos
                group = notified.find_group(row, user)
                if group is not None and (group.is_highlight or not highlights_only):
                    told += read(room, pos, row.thread, group)
                if len(told) >= limit:
                    break
            has_more = merged.has_more
        answer = b'{"notifications":[' + b",".join(told) + b"]"
        return answer + (b',"next_token":"%d"}' % at if has_more else b"}")


class _Merged:
    """What notified anybody in the rooms of a user, (room, place, row), the newest first.

    For each room only its next place is known, so that an answer costs one look into every room and one for every row.
    """

    def __init__(self, snapshot: Snapshot, user: ShortUserId, before: int | None) -> None:
        self._snapshot = snapshot
        self._heap: list[tuple[int, ShortRoomId, Notified]] = []
        for kind in _KINDS:
            for room, membership in members.scan_rooms(snapshot, user, kind):
                newest = None if membership.forgotten else self._get_next(room, before)
                if newest is not None:
                    self._heap.append((-newest[0], room, newest[1]))
        heapify(self._heap)

    def _get_next(self, room: ShortRoomId, before: int | None) -> tuple[int, Notified] | None:
        return next(notified.scan_newest(self._snapshot, room, before=before), None)

    @property
    def has_more(self) -> bool:
        return bool(self._heap)

    def __iter__(self) -> Iterator[tuple[ShortRoomId, int, Notified]]:
        while self._heap:
            place, room, row = self._heap[0]
            following = self._get_next(room, -place)
            if following is None:
                heappop(self._heap)
            else:
                heapreplace(self._heap, (-following[0], room, following[1]))
            yield room, -place, row


class _Reader:
    """Reads and renders notifications in one snapshot."""

    def __init__(self, snapshot: Snapshot, requester: Requester, now_ms: int) -> None:
        self._snapshot = snapshot
        self._requester = requester
        self._visibility = Visibility(snapshot, requester.user_id)
        self._events = ClientEvents(snapshot, requester, self._visibility, now_ms=now_ms)
        self._ignored = get_ignored_users(snapshot, requester.user)
        invited = members.scan_rooms(snapshot, requester.user, INVITE)
        self._invites = {room: membership.pos for room, membership in invited}
        self._unread: dict[ShortRoomId, UnreadInRoom | None] = {}

    def __call__(self, room: ShortRoomId, pos: int, thread: ShortEventId, group: Group) -> list[bytes]:
        """Nothing for an event that the user does not see any more."""
        event = get_event_at(self._snapshot, room, pos)
        if event is None:
            return []
        stored = timeline.require_row(self._snapshot, event)
        is_invite = self._invites.get(room) == pos  # Shown whatever else of the room is.
        if not (is_invite or self._visibility.may_see(stored)):
            return []
        if row_fields.get_sender(stored) in self._ignored and not stored.flags & STATE:
            return []
        notification = {
            "actions": group.actions,
            "event": orjson.Fragment(self._events.render(event, stored, room_id=None)),
            "read": not is_invite and self._has_read(room, pos, thread),
            "room_id": short_ids.get_room_record(self._snapshot, room).room_id,
            "ts": row_fields.get_origin_server_ts(stored),
        }
        return [orjson.dumps(notification)]

    def _has_read(self, room: ShortRoomId, pos: int, thread: ShortEventId) -> bool:
        if room not in self._unread:
            self._unread[room] = notified.get_unread(self._snapshot, self._requester.user, room)
        unread = self._unread[room]
        return unread is None or unread.has_read(pos, thread)
