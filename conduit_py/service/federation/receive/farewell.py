"""The event that removes the last of our users from a room.

From the moment that it is sent, other servers have no reason to tell us anything more about the room: whatever came
right before it and did not reach us cannot be had any more. Were it refused for that, our users would stay in a room
that everybody else knows they are not in, for ever.

The state after it is a guess by that, and so are those after what is put back behind it once we are in the room again.
What is new then follows the state that the server told which let us in.
"""

from __future__ import annotations

from conduit_py.data import members, rooms, short_ids
from conduit_py.data.state import LooseState
from conduit_py.matrix.ids import Malformed, ServerName, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import JOIN

REMOVED = ("leave", "ban")


def find_state_of_farewell(snapshot: Snapshot, pdu: Pdu, server_name: ServerName) -> LooseState | None:
    """What such an event is judged by, beside what allows it by itself: the room as we know it. None for others."""
    room = rooms.get_room(snapshot, pdu.room_id)
    if room is None or pdu.type != "m.room.member" or pdu.state_key is None or pdu.state_key == pdu.sender:
        return None
    if pdu.content.get("membership") not in REMOVED or not _is_of_server(pdu.state_key, server_name):
        return None
    removed = short_ids.get_user(snapshot, UserId(pdu.state_key))
    joined = {user for user, _ in members.scan_members(snapshot, room.short, JOIN, local_only=True)}
    return LooseState(room.state_id) if joined == {removed} else None


def _is_of_server(user_id: str, server_name: ServerName) -> bool:
    try:
        return server_name_of(user_id) == server_name
    except Malformed:
        return False
