"""The names that a server has for itself: its own account, and the room in which that speaks."""

from __future__ import annotations

from typing import Final

from conduit_py.matrix.ids import RoomAlias, ServerName, UserId

SERVER_LOCALPART: Final = "conduit"
"""As Conduit has it, so that administrators find what they know."""
ADMIN_ROOM_LOCALPART: Final = "admins"


def server_user_id(server_name: ServerName) -> UserId:
    """The server's own account, which made the Admin Room."""
    return UserId(f"@{SERVER_LOCALPART}:{server_name}")


def is_server_user(user_id: UserId) -> bool:
    """Is a user of this server the server itself? Other servers may have such users of their own."""
    return user_id.startswith(_SERVER_USER)


def admin_room_alias(server_name: ServerName) -> RoomAlias:
    return RoomAlias(f"#{ADMIN_ROOM_LOCALPART}:{server_name}")


_SERVER_USER: Final = f"@{SERVER_LOCALPART}:"
