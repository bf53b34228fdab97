"""Which rooms a server may ask about.

Spec: server-server-api/#server-access-control-lists-acls
"""

from __future__ import annotations

from conduit_py.data import members, rooms
from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.service.errors import Forbidden
from conduit_py.service.rooms.server_acl import get_acl
from conduit_py.storage.database import Snapshot


def get_room_for(snapshot: Snapshot, origin: ServerName, room_id: RoomId) -> Room | None:
    """The room, if the server has a joined user in it and is not shut out."""
    room = rooms.get_room(snapshot, room_id)
    if room is None or not members.is_server_joined(snapshot, room.short, origin):
        return None
    return room if get_acl(snapshot, room.short).allows(origin) else None


def require_room_for(snapshot: Snapshot, origin: ServerName, room_id: RoomId) -> Room:
    """Raises ``Forbidden``; the answer does not tell whether there is such a room."""
    room = get_room_for(snapshot, origin, room_id)
    if room is None:
        raise Forbidden(f"{origin} is not in {room_id}")
    return room
