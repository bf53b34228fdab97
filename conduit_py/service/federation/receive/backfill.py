"""Fetching what happened before: the holes of a timeline are filled when somebody reads up to them.

Events are put into the places that are kept for them, in the order in which they follow each other. They notify nobody
and are no ends of the room. What they refer to in turn is then what is missing, and the hole moves before the oldest of
them, until it meets what we hold or the beginning of the room.

Spec: server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conduit_py.data import gaps, rooms
from conduit_py.data.closed import get_closed
from conduit_py.data.rooms import Room
from conduit_py.data.state import LooseState
from conduit_py.log import get_logger
from conduit_py.matrix.ids import EventId, RoomId, ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.outbound.errors import RemoteError
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.federation_events import fetch_backfill
from conduit_py.service.federation.pauses import Pauses
from conduit_py.service.federation.receive.missing import MissingEventsFetcher, StillMissing, connect, is_held
from conduit_py.service.federation.receive.order import by_prev_events
from conduit_py.service.federation.receive.sources import choose_servers
from conduit_py.service.rooms.receive import Arrival, MissingEvents
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database
from conduit_py.storage.locks import KeyedLocks
from kvschema.catalog.timeline import Gap

_log = get_logger(__name__)

EVENTS_MAX: Final = 100
"""Events asked for at a time."""
NAMED_MAX: Final = 20
"""Missing events that are named to the other server."""
STATES_MAX: Final = 3
"""States before events that are fetched for one page."""
PAUSE_MS: Final = 30_000
PAUSE_MAX_MS: Final = 3_600_000


class Backfill:
    """One per server."""

    def __init__(
        self,
        database: Database,
        writes: RoomWrites,
        fetcher: Fetcher,
        missing: MissingEventsFetcher,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._writes = writes
        self._fetcher = fetcher
        self._missing = missing
        self._pauses = Pauses(first_ms=PAUSE_MS, longest_ms=PAUSE_MAX_MS, now_ms=now_ms)
        self._rooms = KeyedLocks()

    async def fill(self, room_id: RoomId, pos: int) -> bool:
        """Fetch some of what is missing right before the event at a place. False if nothing could be had now."""
        async with self._rooms.hold(room_id):
            with self._database.snapshot() as snapshot:
                room = rooms.get_room(snapshot, room_id)
                gap = None if room is None else gaps.get_gap(snapshot, room.short, pos)
                servers = [] if room is None else choose_servers(snapshot, room, own=self._writes.append.server_name)
                is_closed = get_closed(snapshot, room_id) is not None
            if room is None or is_closed:
                return False
            if gap is None:  # Somebody else has filled it meanwhile.
                return True
            if gap.next_pos < gap.last_pos or not self._pauses.is_over((room_id, pos)):
                return False
            for server_name in servers:
                if await self._fill_from(server_name, room, pos, gap):
                    self._pauses.note((room_id, pos), has_failed=False)
                    return True
            self._pauses.note((room_id, pos), has_failed=True)
            return False

    async def _fill_from(self, server_name: ServerName, room: Room, pos: int, gap: Gap) -> bool:
        wanted = [EventId(event_id) for event_id in gap.missing]
        try:
            texts = await fetch_backfill(self._fetcher, server_name, room.room_id, wanted[:NAMED_MAX], limit=EVENTS_MAX)
        except RemoteError as error:
            _log.debug("history cannot be fetched", server=server_name, room=room.room_id, error=str(error))
            return False
        checked = await self._missing.check(room, texts)
        with self._database.snapshot() as snapshot:
            fresh = [pdu for pdu in checked if not is_held(snapshot, room, pdu.event_id)]
        found = sorted(connect(wanted, fresh), key=lambda pdu: pdu.depth)
        # The newest, if there are not places enough.
        ordered = by_prev_events(found)[-(gap.next_pos - gap.last_pos + 1) :]
        if not ordered:
            return False
        first_place = gap.next_pos - len(ordered) + 1
        return await self._put_back(server_name, room, pos, dict(enumerate(ordered, first_place)))

    async def _put_back(self, server_name: ServerName, room: Room, pos: int, pdus: dict[int, Pdu]) -> bool:
        """Store what was fetched, the oldest first. Whether any of it was."""
        oldest, states_left = None, STATES_MAX
        for place, pdu in pdus.items():
            state: LooseState | None = None
            with self._database.snapshot() as snapshot:
                is_behind = all(is_held(snapshot, room, event_id) for event_id in pdu.prev_events)
            try:
                if not is_behind:
                    if not states_left:
                        continue
                    states_left -= 1
                    state = await self._missing.fetch_state_before(server_name, room, pdu.event_id)
                await self._missing.fetch_auth_events(server_name, room, pdu)
            except StillMissing as error:
                _log.debug("an event of before cannot be judged", room=room.room_id, why=str(error))
                continue
            arrival = Arrival(pdu=pdu, told=state, place=place, gap_pos=pos)
            [receipt] = await self._writes.receive(room.room_id, [arrival])
            if not isinstance(receipt, MissingEvents):
                oldest = place if oldest is None else oldest
        if oldest is None:
            return False
        await self._writes.move_gap(room.room_id, pos)
        return True
