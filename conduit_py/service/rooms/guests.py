"""Guests in rooms: they come in only where guests may, and must go when that changes.

Spec: client-server-api/#guest-access
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conduit_py.data import short_ids, state, users
from conduit_py.matrix.ids import RoomId, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.errors import MatrixError
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.remote_spaces import RemoteSpaces
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.storage.database import Database, Snapshot

GUEST_ACCESS = "m.room.guest_access"


class GuestsForbidden(MatrixError):
    """The room is none for guests."""

    errcode, status = "M_GUEST_ACCESS_FORBIDDEN", 403

    def __init__(self) -> None:
        super().__init__("Guests may not join this room")


class GuestsElsewhere:
    """Guests and rooms that this server does not take part in yet. One per server."""

    def __init__(self, database: Database, spaces: RemoteSpaces) -> None:
        self._database = database
        self._spaces = spaces

    async def require_may_join(self, room_id: RoomId, via: Sequence[str]) -> None:
        """Raises ``GuestsForbidden`` unless a server in the room says that guests may come in."""
        named = [server_name_of(room_id)] if ":" in room_id else []
        told = (await self._spaces.fetch(room_id, [*via, *named], suggested_only=True))[room_id]
        if told is None or not told.summary["guest_can_join"]:
            raise GuestsForbidden

    def may_stay(self, room_id: RoomId) -> bool:
        """Was that true? To be asked as soon as this server knows by itself."""
        with self._database.snapshot() as snapshot:
            room = get_live_room(snapshot, room_id)
            return room is not None and _lets_in(state.get_current_pdu(snapshot, room.short, GUEST_ACCESS, ""))


def require_guests_may_join(append: RoomAppend) -> None:
    """Raises ``GuestsForbidden``."""
    if not _lets_in(append.get_state(GUEST_ACCESS, "")):
        raise GuestsForbidden


def stage_guests_gone(snapshot: Snapshot, append: RoomAppend, content: Mapping[str, Any]) -> None:
    """Make the guests of this server leave, unless ``content`` of ``m.room.guest_access`` lets them stay.

    To be staged before that event itself, so that it notifies nobody who is about to go. Costs the local members.
    """
    if _may_join(content):
        return
    for user in sorted(append.scan_local_joined()):
        account = users.get_account(snapshot, user)
        if account is None or not account.is_guest:
            continue
        user_id = short_ids.get_user_id(snapshot, user)
        leave = append.create_event(
            sender=user_id, type="m.room.member", content={"membership": "leave"}, state_key=user_id
        )
        append.append(leave)


def _lets_in(guest_access: Pdu | None) -> bool:
    return guest_access is not None and _may_join(guest_access.content)


def _may_join(content: Mapping[str, Any]) -> bool:
    return content.get("guest_access") == "can_join"
