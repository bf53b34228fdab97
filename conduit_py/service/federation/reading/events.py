"""Single events and walks through the history of a room, for other servers.

Spec: server-server-api/#retrieving-events
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

import trio

from conduit_py.data import row_fields, short_ids, timeline
from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import EventId, RoomId, ServerName
from conduit_py.service.errors import NotFound
from conduit_py.service.federation.reading.access import get_room_for, require_room_for
from conduit_py.service.federation.reading.seeing import ServerSight, open_sight
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import OUTLIER, EventRow

BACKFILL_EVENTS_MAX: Final = 100
MISSING_EVENTS_MAX: Final = 50
MISSING_EVENTS_DEFAULT: Final = 10
"""Spec: server-server-api/#post_matrixfederationv1get_missing_eventsroomid"""
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
"""A page ends here, whatever was asked for. A hundred events are about 100 KiB, and 6.4 MiB at most."""
NAMED_MAX: Final = 100
"""Event ids in a request that are looked at."""
EVENTS_PER_SLICE: Final = 20
"""Events rendered before others get their turn: about 5 ms."""
SCANNED_MAX: Final = 500
"""Events looked at for one at a time that may be seen."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An event of the room that has its place in the graph."""

    event: ShortEventId
    row: EventRow
    depth: int
    prev_events: Sequence[EventId]


class EventReads:
    """One per server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_event(self, origin: ServerName, event_id: EventId) -> bytes:
        """An event of a room that the server is in, as JSON.

        Raises ``NotFound``, without telling whether there is such an event in another room.

        Spec: server-server-api/#get_matrixfederationv1eventeventid
        """
        with self._database.snapshot() as snapshot:
            found = timeline.find_row(snapshot, event_id)
            room = None if found is None else _get_room_of(snapshot, origin, found[1])
        if found is None or room is None:
            raise NotFound(f"there is no event {event_id} in a room that {origin} is in")
        sight = await open_sight(self._database, room, origin)
        with self._database.snapshot() as snapshot:
            return sight.show(snapshot, timeline.require_row(snapshot, found[0]))

    async def get_backfill(
        self, origin: ServerName, room_id: RoomId, event_ids: Sequence[EventId], *, limit: int
    ) -> list[bytes]:
        """The events named and those before them, the deepest first. Raises ``Forbidden``.

        Spec: server-server-api/#get_matrixfederationv1backfillroomid
        """
        room, sight = await self._open(origin, room_id)
        walk = _BackfillWalk(room, event_ids[:NAMED_MAX])
        limit = min(limit, BACKFILL_EVENTS_MAX)
        rendered: list[bytes] = []
        size = 0
        while len(rendered) < limit and size < ANSWER_BYTES_MAX and not walk.is_over:
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                for found in walk.go_on(snapshot, min(EVENTS_PER_SLICE, limit - len(rendered))):
                    rendered.append(sight.show(snapshot, found.row))
                    size += len(rendered[-1])
        return rendered

    async def get_missing_events(
        self,
        origin: ServerName,
        room_id: RoomId,
        *,
        earliest_events: Sequence[EventId],
        latest_events: Sequence[EventId],
        limit: int | None,
        min_depth: int,
    ) -> list[bytes]:
        """What lies between what the server has and what it has heard of, in the order to take it in.

        Raises ``Forbidden``.

        Spec: server-server-api/#post_matrixfederationv1get_missing_eventsroomid
        """
        room, sight = await self._open(origin, room_id)
        limit = MISSING_EVENTS_DEFAULT if limit is None else min(limit, MISSING_EVENTS_MAX)
        walk = _MissingWalk(room, latest_events[:NAMED_MAX], known=earliest_events[:NAMED_MAX], min_depth=min_depth)
        while len(walk.found) < limit and not walk.is_over:
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                walk.go_on(snapshot, EVENTS_PER_SLICE, limit=limit)
        # The walk goes back in rounds; by depth, no event comes before one that it refers to.
        walk.found.sort(key=lambda found: found.depth)
        rendered: list[bytes] = []
        for start in range(0, len(walk.found), EVENTS_PER_SLICE):
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                for found in walk.found[start : start + EVENTS_PER_SLICE]:
                    row = timeline.require_row(snapshot, found.event)
                    rendered.append(sight.show(snapshot, row))
        return rendered

    async def find_by_time(
        self, origin: ServerName, room_id: RoomId, ts_ms: int, *, is_backwards: bool
    ) -> tuple[EventId, int]:
        """The event closest to a time, on one side of it, that the server may see, and its own time in ms.

        Raises ``Forbidden`` or ``NotFound``.

        Spec: server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
        """
        room, sight = await self._open(origin, room_id)
        with self._database.snapshot() as snapshot:
            scan = timeline.scan_by_time(snapshot, room.short, ts_ms, reverse=is_backwards)
            near = [event for _, (_, event) in zip(range(SCANNED_MAX), scan, strict=False)]
        for start in range(0, len(near), EVENTS_PER_SLICE):
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                for event in near[start : start + EVENTS_PER_SLICE]:
                    row = timeline.require_row(snapshot, event)
                    if sight.may_see(snapshot, row):
                        return EventId(row.event_id), row_fields.get_origin_server_ts(row)
        raise NotFound(f"there is no event right {'before' if is_backwards else 'after'} {ts_ms}")

    async def _open(self, origin: ServerName, room_id: RoomId) -> tuple[Room, ServerSight]:
        with self._database.snapshot() as snapshot:
            room = require_room_for(snapshot, origin, room_id)
        return room, await open_sight(self._database, room, origin)


class _BackfillWalk:
    """From some events back along ``prev_events``, always to the deepest that is left."""

    def __init__(self, room: Room, event_ids: Sequence[EventId]) -> None:
        self._room = room
        self._named: deque[EventId] = deque(event_ids)
        self._seen: set[EventId] = set()
        self._heap: list[tuple[int, ShortEventId, _Found]] = []

    @property
    def is_over(self) -> bool:
        return not self._named and not self._heap

    def go_on(self, snapshot: Snapshot, steps: int) -> list[_Found]:
        """The next events, at most ``steps`` of them."""
        self._add(snapshot, self._named)
        self._named.clear()
        passed: list[_Found] = []
        while self._heap and len(passed) < steps:
            _, _, found = heappop(self._heap)
            passed.append(found)
            self._add(snapshot, found.prev_events)
        return passed

    def _add(self, snapshot: Snapshot, event_ids: Iterable[EventId]) -> None:
        for event_id in event_ids:
            if event_id not in self._seen:
                self._seen.add(event_id)
                found = _find(snapshot, self._room, event_id)
                if found is not None:
                    heappush(self._heap, (-found.depth, ShortEventId(-found.event), found))


class _MissingWalk:
    """From some events back along ``prev_events``, in rounds, up to those that are known."""

    def __init__(self, room: Room, latest: Sequence[EventId], *, known: Collection[EventId], min_depth: int) -> None:
        self._room = room
        self._min_depth = min_depth
        self._latest = list(latest)
        self._seen: set[EventId] = {*latest, *known}
        self._ahead: deque[EventId] = deque()
        self.found: list[_Found] = []

    @property
    def is_over(self) -> bool:
        return not self._latest and not self._ahead

    def go_on(self, snapshot: Snapshot, steps: int, *, limit: int) -> None:
        """Find some more events, unless there are enough."""
        while self._latest:
            latest = _find(snapshot, self._room, self._latest.pop(0))
            if latest is not None:
                self._add(latest.prev_events)
        for _ in range(steps):
            if not self._ahead or len(self.found) >= limit:
                return
            found = _find(snapshot, self._room, self._ahead.popleft())
            if found is not None and found.depth >= self._min_depth:
                self.found.append(found)
                self._add(found.prev_events)

    def _add(self, event_ids: Iterable[EventId]) -> None:
        for event_id in event_ids:
            if event_id not in self._seen:
                self._seen.add(event_id)
                self._ahead.append(event_id)


def _find(snapshot: Snapshot, room: Room, event_id: EventId) -> _Found | None:
    stored = timeline.find_row(snapshot, event_id)
    if stored is None:
        return None
    event, row = stored
    if row.room != room.short or row.flags & OUTLIER:
        return None
    pdu = timeline.get_pdu(snapshot, event)
    return _Found(event, row, pdu.depth, pdu.prev_events)


def _get_room_of(snapshot: Snapshot, origin: ServerName, row: EventRow) -> Room | None:
    return get_room_for(snapshot, origin, RoomId(short_ids.get_room_record(snapshot, row.room).room_id))
