"""Whether we take part in a room that we hold.

We do while a local user is joined, or while no other server has members: then nothing happens in the room without us.
Otherwise what we hold is from the day the last local user left, and nobody sends us what happens since. Such a room is
still read by those who left it, and joined again by way of another server.

What such a join is answered with takes the place of what we held, ends of the room included: whether these come before
what we are told cannot be seen, and state that has been replaced long ago must not come back. What we had sent and the
others have not got is still queued for them, and connects again by what they send next. If the other server has not
heard of something that the rest of the room knows, and that would have kept our user out, the rest will not let the
join pass, and no protocol between servers has a message that tells us so. Of a ban we know ourselves
(``service.federation.handshakes.joins.behind``); for all else people have to leave, and join by way of another server.
"""

from __future__ import annotations

from conduit_py.data import members, rooms
from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import RoomId
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortRoomId


def is_resident(snapshot: Snapshot, room: ShortRoomId) -> bool:
    """Is what we hold of the room what it is now? Only for a room that we hold."""
    if any(members.scan_members(snapshot, room, JOIN, local_only=True)):
        return True
    return not any(members.scan_servers(snapshot, room))


def get_live_room(snapshot: Snapshot, room_id: RoomId) -> Room | None:
    """A room that we hold and take part in."""
    room = rooms.get_room(snapshot, room_id)
    return room if room is not None and is_resident(snapshot, room.short) else None
