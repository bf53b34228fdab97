"""Guests in rooms: they come in only where guests may, and must go when that changes.

Spec: client-server-api/#guest-access
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit_py.data import short_ids, users
from conduit_py.service.errors import MatrixError
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.storage.database import Snapshot

GUEST_ACCESS = "m.room.guest_access"


def require_guests_may_join(append: RoomAppend) -> None:
    """Raises ``M_GUEST_ACCESS_FORBIDDEN``."""
    guest_access = append.get_state(GUEST_ACCESS, "")
    if guest_access is None or not _may_join(guest_access.content):
        raise MatrixError("Guests may not join this room", errcode="M_GUEST_ACCESS_FORBIDDEN", status=403)


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


def _may_join(content: Mapping[str, Any]) -> bool:
    return content.get("guest_access") == "can_join"
