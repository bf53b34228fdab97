"""Knocking: asking to be let into a room.

Spec: client-server-api/#knocking-on-rooms
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.service.errors import Forbidden
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.elsewhere import Elsewhere
from conduit_py.service.rooms.member_events import get_shown_profile, membership_content, stage_membership
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.writer import Turn


class KnockService:
    """One per server."""

    def __init__(self, database: Database, writes: RoomWrites, remote: Elsewhere, *, throttle: RateLimiter) -> None:
        self._database = database
        self._writes = writes
        self._remote = remote
        self._throttle = throttle

    async def knock(
        self, requester: Requester, room_id: RoomId, *, via: Sequence[ServerName] = (), reason: str | None = None
    ) -> RoomId:
        """Ask to be invited into a room, by way of other servers if this one does not take part in it.

        Asking again in the same words is no error. Raises ``NotFound`` where no server is known that is in the room,
        ``Forbidden`` for one that takes no knocks, or none from the requester (who is in it, invited or banned), and
        what other servers refuse with.

        Spec: client-server-api/#post_matrixclientv3knockroomidoralias
        """
        self._throttle(("join", requester.limited_as))
        content = membership_content("knock", reason)
        if not self._is_live(room_id) and await self._knock_remote(requester, room_id, via, content):
            return room_id

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if not append.room.version.auth.knocking:
                raise Forbidden(f"rooms of version {append.room.version.id} take no knocks")
            stage_membership(snapshot, append, requester, requester.user_id, content)

        await self._writes.write(room_id, stage)
        return room_id

    def _is_live(self, room_id: RoomId) -> bool:
        with self._database.snapshot() as snapshot:
            return get_live_room(snapshot, room_id) is not None

    async def _knock_remote(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> bool:
        requester.require_not_suspended()
        with self._database.snapshot() as snapshot:
            shown = {**get_shown_profile(snapshot, requester.user), **content}
        return await self._remote.knock(requester, room_id, via, shown)
