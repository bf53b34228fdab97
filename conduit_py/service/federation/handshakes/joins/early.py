"""Events that come in while their room is still being joined.

Once a server has let our user in it sends us what happens in the room, often at once: many rooms have somebody who
greets. Until the room's state is stored there is nothing to judge that by, so it waits. What is lost in a crash, or
beyond the limit, is asked for when a later event refers to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from conduit_py.log import get_logger
from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.service.federation.receive.room_events import RawEvent, RoomEvents
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.storage.database import Database
from kvschema.errors import StorageFull

_log = get_logger(__name__)

WAITING_MAX: Final = 500
"""Events that wait for one room."""


class EarlyEvents:
    """One per server."""

    def __init__(self, database: Database, room_events: RoomEvents) -> None:
        self._database = database
        self._room_events = room_events
        self._waiting: dict[RoomId, list[tuple[ServerName, RawEvent]]] = {}

    @contextmanager
    def expect(self, room_id: RoomId) -> Iterator[None]:
        """The room is being joined within the block. One at a time for each room."""
        self._waiting[room_id] = []
        try:
            yield
        finally:
            del self._waiting[room_id]

    def keep(self, origin: ServerName, room_id: RoomId, raw: RawEvent) -> bool:
        """Let an event wait. False if the room is not being joined."""
        waiting = self._waiting.get(room_id)
        if waiting is None:
            return False
        if len(waiting) < WAITING_MAX:
            waiting.append((origin, raw))
        return True

    async def deliver(self, room_id: RoomId) -> None:
        """The room has been joined: receive what came meanwhile."""
        waiting = self._waiting[room_id]
        while waiting:
            came, waiting[:] = waiting[:], []
            with self._database.snapshot() as snapshot:
                room = get_live_room(snapshot, room_id)
            if room is None:
                return
            by_origin: dict[ServerName, list[RawEvent]] = {}
            for origin, raw in came:
                by_origin.setdefault(origin, []).append(raw)
            for origin, raws in by_origin.items():
                try:
                    await self._room_events.receive(origin, room, raws)
                except StorageFull as error:
                    _log.warning("what came while a room was joined is not stored", room=room_id, error=str(error))
