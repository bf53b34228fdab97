"""Which rooms a server may ask about.

Spec: server-server-api/#server-access-control-lists-acls
"""

from __future__ import annotations

from conduit_py.data import members, rooms, state, timeline
from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import EventId, RoomId, ServerName
from conduit_py.service.errors import Forbidden
from conduit_py.service.rooms.server_acl import get_acl
from conduit_py.storage.database import Snapshot


def get_room_for(snapshot: Snapshot, origin: ServerName, room_id: RoomId) -> Room | None:
    """The room, if the server has a joined user in it and is not shut out."""
    room = rooms.get_room(snapshot, room_id)
    if room is None or not members.is_server_joined(snapshot, room.short, origin):
        return None
    return room if get_acl(snapshot, room.short).allows(origin) else None


def get_room_of_farewell(snapshot: Snapshot, origin: ServerName, room_id: RoomId, event_id: EventId) -> Room | None:
    """The room, if the event is what its state says of a user of the server, and it is not shut out.

    Who was just removed is sent what did that, and must be able to judge it: not to believe it is to stay in the room.
    """
    room = rooms.get_room(snapshot, room_id)
    found = None if room is None else timeline.find_row(snapshot, event_id)
    if room is None or found is None:
        return None
    event, row = found
    pdu = timeline.get_pdu(snapshot, event)
    if row.room != room.short or pdu.type != "m.room.member" or not (pdu.state_key or "").endswith(f":{origin}"):
        return None
    if state.get_current(snapshot, room.short, pdu.type, pdu.state_key or "") != event:
        return None
    return room if get_acl(snapshot, room.short).allows(origin) else None


def require_room_for(snapshot: Snapshot, origin: ServerName, room_id: RoomId) -> Room:
    """Raises ``Forbidden``; the answer does not tell whether there is such a room."""
    room = get_room_for(snapshot, origin, room_id)
    if room is None:
        raise Forbidden(f"{origin} is not in {room_id}")
    return room
