"""What is asked of every server that wants something of a room."""

from __future__ import annotations

from collections.abc import Collection

from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import RoomId, ServerName, UserId, server_name_of
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.service.errors import Forbidden, MatrixError, NotFound
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.rooms.server_acl import get_acl
from conduit_py.storage.database import Snapshot


def require_room(snapshot: Snapshot, origin: ServerName, room_id: RoomId) -> Room:
    """The room, if we take part in it and it does not shut the server out. Raises ``NotFound`` or ``Forbidden``."""
    room = get_live_room(snapshot, room_id)
    if room is None:
        raise NotFound(f"this server is not in {room_id}")
    require_allowed(snapshot, origin, room)
    return room


def require_allowed(snapshot: Snapshot, origin: ServerName, room: Room) -> None:
    """Raises ``Forbidden`` where the room's access control list denies the server.

    Spec: server-server-api/#server-access-control-lists-acls
    """
    if not get_acl(snapshot, room.short).allows(origin):
        raise Forbidden(f"{origin} may not take part in {room.room_id}")


def require_own_user(origin: ServerName, user_id: UserId) -> None:
    """Raises ``Forbidden`` for a user of another server than the one that asks."""
    if server_name_of(user_id) != origin:
        raise Forbidden(f"{user_id} is not a user of {origin}")


def require_version(version: RoomVersion, supported: Collection[str]) -> None:
    """Raises ``M_INCOMPATIBLE_ROOM_VERSION`` for a room of a version that the other server does not know."""
    if version.id not in supported:
        raise MatrixError(
            "Your homeserver does not support the features required to take part in this room",
            errcode="M_INCOMPATIBLE_ROOM_VERSION",
            status=400,
            extra={"room_version": version.id},
        )
