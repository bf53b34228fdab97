"""Stand-ins that check and accept events from outside one at a time, on the current state of the room."""

from __future__ import annotations

from collections.abc import Iterable

from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.rooms.write import RoomWrites


class OnCurrentState:
    """One per server."""

    def __init__(self, writes: RoomWrites) -> None:
        self._writes = writes

    async def accept(self, room: Room, pdu: Pdu, send_to: Iterable[ServerName]) -> None:
        await self._writes.write(room.room_id, lambda snapshot, turn, append: append.append(pdu))
