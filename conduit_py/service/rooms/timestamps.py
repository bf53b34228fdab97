"""Finding the event of a room that was sent at some time.

Where history is missing right beside what is found here, other servers are asked whether they have something nearer,
and if so what is missing is fetched up to it.

Spec: client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

import trio

from conduit_py.data import gaps, members, timeline
from conduit_py.matrix.ids import EventId, RoomId, ServerName
from conduit_py.outbound.errors import RemoteError
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.federation_queries import NearestEvent, fetch_timestamp_to_event
from conduit_py.service.errors import NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import require_access
from conduit_py.service.rooms.history import History
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortRoomId

SCANNED_MAX: Final = 500
"""Events looked at for one that may be seen, about 10 ms."""
SERVERS_MAX: Final = 3
"""Servers that are asked, those with the most users in the room first."""
FILLS_MAX: Final = 10
"""Pages of history that are fetched to come to what another server knows."""
TIMEOUT_S: Final = 20.0
"""For all that other servers are asked."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What is held here."""

    event: tuple[EventId, int] | None
    """The nearest event and its time in ms."""
    gap_pos: int | None
    """Where history is missing between it and the time, if it is."""


class TimestampService:
    """One per server."""

    def __init__(self, database: Database, history: History, fetcher: Fetcher, *, server_name: ServerName) -> None:
        self._database = database
        self._history = history
        self._fetcher = fetcher
        self._server_name = server_name

    async def find_event(
        self, requester: Requester, room_id: RoomId, ts_ms: int, *, is_backwards: bool
    ) -> tuple[EventId, int]:
        """The event closest to a time that the requester may see, and its own time in ms: at it, or on one side of it.

        Raises ``Forbidden`` or ``NotFound``.

        Spec: client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
        """
        found = self._find(requester, room_id, ts_ms, is_backwards=is_backwards)
        if found.gap_pos is not None:
            with trio.move_on_after(TIMEOUT_S):
                await self._approach(requester, room_id, ts_ms, found, is_backwards=is_backwards)
            found = self._find(requester, room_id, ts_ms, is_backwards=is_backwards)
        if found.event is None:
            side = "before" if is_backwards else "after"
            raise NotFound(f"there is no event right {side} {ts_ms} that you may see")
        return found.event

    async def _approach(
        self, requester: Requester, room_id: RoomId, ts_ms: int, found: _Found, *, is_backwards: bool
    ) -> None:
        """Fetch what is missing, as long as another server knows of something nearer to the time."""
        nearest = await self._fetch_nearest(room_id, ts_ms, is_backwards=is_backwards)
        for _ in range(FILLS_MAX):
            if nearest is None or found.gap_pos is None or not _is_nearer(nearest, found, ts_ms):
                return
            if not await self._history.fill(room_id, found.gap_pos):
                return
            found = self._find(requester, room_id, ts_ms, is_backwards=is_backwards)

    async def _fetch_nearest(self, room_id: RoomId, ts_ms: int, *, is_backwards: bool) -> NearestEvent | None:
        for server_name in self._choose_servers(room_id):
            try:
                nearest = await fetch_timestamp_to_event(
                    self._fetcher, server_name, room_id, ts=ts_ms, dir="b" if is_backwards else "f"
                )
            except RemoteError:
                continue
            difference = nearest.origin_server_ts - ts_ms
            if difference <= 0 if is_backwards else difference >= 0:
                return nearest
        return None

    def _choose_servers(self, room_id: RoomId) -> list[ServerName]:
        with self._database.snapshot() as snapshot:
            room = get_live_room(snapshot, room_id)
            crowds = [] if room is None else list(members.get_servers_with_counts(snapshot, room.short).items())
        names = [name for name, _ in sorted(crowds, key=lambda crowd: (-crowd[1], crowd[0]))]
        return [name for name in names if name != self._server_name][:SERVERS_MAX]

    def _find(self, requester: Requester, room_id: RoomId, ts_ms: int, *, is_backwards: bool) -> _Found:
        with self._database.snapshot() as snapshot:
            access = require_access(snapshot, requester, room_id)
            visibility = Visibility(snapshot, requester.user_id)
            scan = timeline.scan_by_time(snapshot, access.room, ts_ms, reverse=is_backwards)
            for event_ts_ms, event in islice(scan, SCANNED_MAX):
                row = timeline.require_row(snapshot, event)
                if row.pos <= access.until and visibility.may_see(row):
                    gap_pos = _find_gap(snapshot, access.room, row.pos, is_backwards=is_backwards)
                    return _Found((EventId(row.event_id), event_ts_ms), gap_pos)
            gap_pos = _find_gap(snapshot, access.room, None, is_backwards=True) if is_backwards else None
            return _Found(None, gap_pos)


def _find_gap(snapshot: Snapshot, room: ShortRoomId, pos: int | None, *, is_backwards: bool) -> int | None:
    """Where history is missing right before the event at a place, or backwards right after it; None if it is not.

    Without a place: before the first event that is held.
    """
    if is_backwards:
        pos = next((later for later, _ in timeline.scan_timeline(snapshot, room, after=pos)), None)
    if pos is None or gaps.get_gap(snapshot, room, pos) is None:
        return None
    return pos


def _is_nearer(nearest: NearestEvent, found: _Found, ts_ms: int) -> bool:
    return found.event is None or abs(nearest.origin_server_ts - ts_ms) < abs(found.event[1] - ts_ms)
