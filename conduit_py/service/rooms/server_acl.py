"""The server access control list of a room, compiled once while it stays the same. A closed room lets no server in.

Spec: server-server-api/#server-access-control-lists-acls
"""

from __future__ import annotations

from typing import cast

from conduit_py.data import short_ids, state, timeline
from conduit_py.data.closed import get_closed
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.server_acl import NO_ACL, NOBODY, ServerAcl, parse_server_acl
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortRoomId

SERVER_ACL = "m.room.server_acl"


def get_acl(snapshot: Snapshot, room: ShortRoomId) -> ServerAcl:
    """Who may take part in the room as it is now."""
    if get_closed(snapshot, RoomId(short_ids.get_room_record(snapshot, room).room_id)) is not None:
        return NOBODY
    event = state.get_current(snapshot, room, SERVER_ACL, "")
    if event is None:
        return NO_ACL
    # With the redaction in the name, a list that was redacted is not answered from what it was before.
    row = timeline.require_row(snapshot, event)
    name = ("acl", event, row.redacted_by)
    cached = snapshot.cache.get(name, snapshot.pos)
    if cached is None:
        cached = parse_server_acl(timeline.get_pdu(snapshot, event).content)
        snapshot.cache.put(name, cached, 4 * len(row.client), snapshot.pos)
    return cast("ServerAcl", cached)
