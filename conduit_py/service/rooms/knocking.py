"""Knocking: asking to be let into a room.

Spec: client-server-api/#knocking-on-rooms
"""

from __future__ import annotations

from conduit_py.data import rooms
from conduit_py.matrix.ids import RoomId
from conduit_py.service.errors import Forbidden, NotFound
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.member_events import membership_content, stage_membership
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.writer import Turn


class KnockService:
    """One per server."""

    def __init__(self, database: Database, writes: RoomWrites, *, throttle: RateLimiter) -> None:
        self._database = database
        self._writes = writes
        self._throttle = throttle

    async def knock(self, requester: Requester, room_id: RoomId, *, reason: str | None = None) -> RoomId:
        """Ask to be invited into a room that this server is in. Asking again in the same words is no error.

        Raises ``NotFound`` for a room we do not hold, and ``Forbidden`` for one that takes no knocks, or none from the
        requester: who is in it, invited or banned.

        Spec: client-server-api/#post_matrixclientv3knockroomidoralias
        """
        self._throttle(("join", requester.user_id))
        with self._database.snapshot() as snapshot:
            if rooms.get_room(snapshot, room_id) is None:
                raise NotFound(f"no server that is known here is in {room_id}")

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if not append.room.version.auth.knocking:
                raise Forbidden(f"rooms of version {append.room.version.id} take no knocks")
            content = membership_content("knock", reason)
            stage_membership(snapshot, append, requester, requester.user_id, content)

        await self._writes.write(room_id, stage)
        return room_id
