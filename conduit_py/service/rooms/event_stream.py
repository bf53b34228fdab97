"""The stream of events that the oldest clients listen to, of all their rooms or of one that they look into.

A token is a place in the stream: what is told lies behind it.

Spec: client-server-api/#get_matrixclientv3events
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from itertools import islice

import orjson
import trio

from conduit_py.data import members, row_fields, short_ids, timeline
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.sync_token import format_place, parse_place
from conduit_py.observe.requests import NEWS, timed
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import Access, get_access, require_access
from conduit_py.service.rooms.client_events import ClientEvents
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.service.rooms.state_reads import json_list
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import STATE

EVENTS_MAX = 100
"""Events looked at for one answer, about 10 ms."""
LOOK_AGAIN_S = 5
"""Nobody is woken by a room that they are not in, so it is looked into again after so long."""


class EventStream:
    """One per server."""

    def __init__(self, database: Database, hub: SyncHub, *, now_ms: Callable[[], int], timeout_max_ms: int) -> None:
        self._database = database
        self._hub = hub
        self._now_ms = now_ms
        self._timeout_max_ms = timeout_max_ms

    async def get_events(
        self, requester: Requester, *, from_token: str | None, timeout_ms: int | None, room_id: RoomId | None
    ) -> bytes:
        """Events behind a token, or from now on: of the rooms that the requester is in, or of one. Waits for the first.

        Raises ``Malformed`` for no token, and ``Forbidden`` for a room that the requester may not read.

        Spec: client-server-api/#get_matrixclientv3events
        """
        deadline = trio.current_time() + min(timeout_ms or 0, self._timeout_max_ms) / 1000
        with self._database.snapshot() as snapshot:
            start = snapshot.pos if from_token is None else parse_place(from_token)
        at = start
        with self._hub.subscribe(requester.user) as waiter:
            while True:
                waiter.rearm()
                chunk, at = self._read(requester, at, room_id)
                if chunk or trio.current_time() >= deadline or self._hub.is_stopping:
                    tokens = (orjson.dumps(format_place(place)) for place in (start, at))
                    return b'{"chunk":%s,"start":%s,"end":%s}' % (json_list(chunk), *tokens)
                look_again = deadline if room_id is None else min(deadline, trio.current_time() + LOOK_AGAIN_S)
                with trio.move_on_at(look_again), timed(NEWS):
                    await waiter.wait()

    def _read(self, requester: Requester, after: int, room_id: RoomId | None) -> tuple[list[bytes], int]:
        """Some events, and the place behind the last that was looked at."""
        with self._database.snapshot() as snapshot:
            if room_id is None:
                accesses = list(_scan_joined(snapshot, requester))
            else:
                accesses = [require_access(snapshot, requester, room_id)]
            visibility = Visibility(snapshot, requester.user_id)
            events = ClientEvents(snapshot, requester, visibility, now_ms=self._now_ms())
            ignored = get_ignored_users(snapshot, requester.user) - {requester.user_id}
            ahead = list(islice(merge(*(_scan(snapshot, access, after) for access in accesses)), EVENTS_MAX))
            chunk = []
            for _, event, event_room_id in ahead:
                row = timeline.require_row(snapshot, event)
                is_ignored = row_fields.get_sender(row) in ignored and not row.flags & STATE
                if not is_ignored and visibility.may_see(row):
                    chunk.append(events.render(event, row, room_id=event_room_id))
            if len(ahead) == EVENTS_MAX:
                return chunk, ahead[-1][0]
            return chunk, max(after, snapshot.pos)


def _scan_joined(snapshot: Snapshot, requester: Requester) -> Iterator[Access]:
    for room, _ in members.scan_rooms(snapshot, requester.user, JOIN):
        access = get_access(snapshot, requester, RoomId(short_ids.get_room_record(snapshot, room).room_id))
        if access is not None:
            yield access


def _scan(snapshot: Snapshot, access: Access, after: int) -> Iterator[tuple[int, ShortEventId, RoomId]]:
    for pos, event in timeline.scan_timeline(snapshot, access.room, after=after, until=access.until):
        yield pos, event, access.room_id
