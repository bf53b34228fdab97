"""Templates of membership events, for users of other servers that are not in the room.

Spec: server-server-api/#get_matrixfederationv1make_joinroomiduserid,
server-server-api/#get_matrixfederationv1make_leaveroomiduserid,
server-server-api/#get_matrixfederationv1make_knockroomiduserid
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from conduit_py.data import members, short_ids
from conduit_py.matrix.auth.rules import check_event
from conduit_py.matrix.ids import RoomId, ServerName, UserId
from conduit_py.service.errors import Forbidden
from conduit_py.service.federation.handshakes.require import require_own_user, require_room, require_version
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.member_events import MEMBER, build_authorised
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.writer import Turn

_LEFT_OUT = frozenset({"event_id", "hashes", "signatures"})

Authorise = Callable[[Snapshot, RoomAppend], dict[str, Any]]


class Templates:
    """One per server."""

    def __init__(self, database: Database, writes: RoomWrites) -> None:
        self._database = database
        self._writes = writes

    async def build_join(
        self, origin: ServerName, room_id: RoomId, user_id: UserId, *, versions: Collection[str]
    ) -> dict[str, Any]:
        """What a user has to sign to join. ``versions`` are the room versions that the other server knows.

        Raises ``NotFound``, ``Forbidden``, ``M_INCOMPATIBLE_ROOM_VERSION`` and what ``build_authorised`` raises.
        """
        self._require(origin, room_id, user_id, versions)
        return await self._build(
            room_id, user_id, "join", lambda snapshot, append: authorise(snapshot, append, user_id)
        )

    async def build_knock(
        self, origin: ServerName, room_id: RoomId, user_id: UserId, *, versions: Collection[str]
    ) -> dict[str, Any]:
        """What a user has to sign to knock. Raises ``NotFound``, ``Forbidden``, ``M_INCOMPATIBLE_ROOM_VERSION``."""
        self._require(origin, room_id, user_id, versions)
        return await self._build(room_id, user_id, "knock")

    async def build_leave(self, origin: ServerName, room_id: RoomId, user_id: UserId) -> dict[str, Any]:
        """What a user has to sign to reject an invite, take back a knock, or leave. Raises as the others do."""
        self._require(origin, room_id, user_id, None)
        return await self._build(room_id, user_id, "leave")

    def _require(self, origin: ServerName, room_id: RoomId, user_id: UserId, versions: Collection[str] | None) -> None:
        require_own_user(origin, user_id)
        with self._database.snapshot() as snapshot:
            room = require_room(snapshot, origin, room_id)
        if versions is not None:
            require_version(room.version, versions)

    async def _build(
        self,
        room_id: RoomId,
        user_id: UserId,
        membership: str,
        authorise: Authorise = lambda snapshot, append: {},
    ) -> dict[str, Any]:
        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> dict[str, Any]:
            content = {"membership": membership, **authorise(snapshot, append)}
            # Signed only so that the rules can be asked: nothing of it is kept, and the signature is not given away.
            pdu = append.create_event(sender=user_id, type=MEMBER, content=content, state_key=user_id)
            denied = check_event(append.room.version, pdu, append.get_state)
            if denied is not None:
                raise Forbidden(denied.why)
            event = {key: value for key, value in pdu.json.items() if key not in _LEFT_OUT}
            return {"room_version": append.room.version.id, "event": {**event, "origin": append.server_name}}

        return await self._writes.rehearse(room_id, stage)


def authorise(snapshot: Snapshot, append: RoomAppend, user_id: UserId) -> dict[str, Any]:
    """Who of our users vouches for the join of another server's user, where somebody has to.

    Raises what ``build_authorised`` raises.

    Spec: server-server-api/#restricted-rooms
    """
    if append.get_membership(user_id) in ("join", "invite", "ban"):
        return {}
    user = short_ids.get_user(snapshot, user_id)

    def is_member(room_id: RoomId) -> bool | None:
        room = get_live_room(snapshot, room_id)
        if room is None:
            return None
        return user is not None and members.is_remote_joined(snapshot, user, room.short)

    return build_authorised(snapshot, append, is_member)
