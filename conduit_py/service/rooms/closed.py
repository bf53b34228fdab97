"""Rooms that an administrator has shut for everybody here.

A disabled room stays as it is: its users go on reading what they have, and may leave. Nothing else is written into it,
nothing is sent to other servers about it, and whatever other servers send or ask about it is refused as if the room
kept them all out. A room that is being removed is closed in the same way, until nothing of it is left.
"""

from __future__ import annotations

from conduit_py.data.admin import get_admin_room
from conduit_py.data.closed import get_closed, get_disabled, stage_disabled
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.errors import Forbidden
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import DisabledRoom


def require_open(snapshot: Snapshot, room_id: RoomId) -> None:
    """Raises ``Forbidden`` with the sentence for a room that is closed."""
    why = get_closed(snapshot, room_id)
    if why is not None:
        raise Forbidden(why)


def require_open_for(snapshot: Snapshot, pdu: Pdu) -> None:
    """The same before an event of ours. People may always be let out of a room."""
    if pdu.type != "m.room.member" or pdu.content.get("membership") not in ("leave", "ban"):
        require_open(snapshot, pdu.room_id)


def require_not_admin_room(snapshot: Snapshot, room_id: RoomId) -> None:
    """Raises ``Forbidden`` for the room that the server is steered in."""
    if room_id == get_admin_room(snapshot):
        raise Forbidden("The Admin Room stays: it cannot be disabled or removed")


class ClosedRooms:
    """Disables and enables rooms. One per server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def disable(self, room_id: RoomId) -> bool:
        """Close a room, whether this server knows it or not. Was it open? Raises ``Forbidden`` for the Admin Room."""
        with self._store.snapshot() as snapshot:
            require_not_admin_room(snapshot, room_id)
        return await self._put(room_id, DisabledRoom(self._store.now_ms()))

    async def enable(self, room_id: RoomId) -> bool:
        """Was it disabled?"""
        return await self._put(room_id, None)

    async def _put(self, room_id: RoomId, row: DisabledRoom | None) -> bool:
        async with self._store.locks.hold(("room", room_id)), self._store.writer.turn(may_use_reserve=True) as turn:
            with self._store.snapshot() as snapshot:
                changes = (get_disabled(snapshot, room_id) is None) != (row is None)
            if changes:
                stage_disabled(turn, room_id, row)
        return changes
