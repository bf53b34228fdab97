"""How far a user may read in a room: all of it, up to where the user left, or not at all.

Whether a single event is shown is for ``visibility`` to say. This is about the room as such: its state, its members,
and where paging through its timeline ends.

Spec: client-server-api/#room-history-visibility
"""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.data import members, rooms, state, timeline
from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.visibility import HistoryVisibility, parse_history_visibility
from conduit_py.service.errors import Forbidden
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.residency import is_resident
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, StateId
from kvschema.catalog.timeline import EventRow


@dataclass(frozen=True, slots=True)
class Access:
    """What one user may read of a room, in one snapshot."""

    room: ShortRoomId
    room_id: RoomId
    state_id: StateId
    """The state the user is shown: the current one, or that of the moment the user left."""
    until: int
    """The last place of the timeline that is open to the user."""


def get_access(snapshot: Snapshot, requester: Requester, room_id: RoomId) -> Access | None:
    """None for a room that we do not hold, and for one that the user never was in, or asked to forget.

    A room that anybody may read is open to everybody, to those who left it too; but not what we hold of one that we
    do not take part in any more.
    """
    room = rooms.get_room(snapshot, room_id)
    if room is None:
        return None
    if members.is_joined(snapshot, requester.user, room.short):
        return _whole(snapshot, room)
    if is_world_readable(snapshot, room.short) and is_resident(snapshot, room.short):
        return _whole(snapshot, room)
    standing = members.get_membership(snapshot, requester.user, room.short)
    if standing is None or standing[1].forgotten:
        return None
    left = _find_leave(snapshot, standing[1].event)
    return None if left is None else Access(room.short, room_id, left.state_after, left.pos)


def require_access(snapshot: Snapshot, requester: Requester, room_id: RoomId) -> Access:
    """Raises ``Forbidden``; the answer does not tell whether there is such a room."""
    access = get_access(snapshot, requester, room_id)
    if access is None:
        raise Forbidden(f"{requester.user_id} is not, and never was, in {room_id}")
    return access


def is_world_readable(snapshot: Snapshot, room: ShortRoomId) -> bool:
    """May anybody read the room as it is now?"""
    visibility = state.get_current_pdu(snapshot, room, "m.room.history_visibility", "")
    return visibility is not None and (parse_history_visibility(visibility.content) is HistoryVisibility.WORLD_READABLE)


def _whole(snapshot: Snapshot, room: Room) -> Access:
    return Access(room.short, room.room_id, room.state_id, snapshot.pos)


def _find_leave(snapshot: Snapshot, event: ShortEventId) -> EventRow | None:
    """The event that ended the user's last time in the room, found back through what replaced what.

    A ban or an invite that came after it does not open what happened in between.
    """
    while event:
        row = timeline.require_row(snapshot, event)
        if row.replaces and timeline.get_pdu(snapshot, row.replaces).content.get("membership") == "join":
            return row if row.pos else None
        event = row.replaces
    return None
