"""Joining, inviting, leaving and everything else that changes who is in a room.

Spec: client-server-api/#room-membership
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import trio

from conduit_py.data import members, rooms, short_ids
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.service.errors import Forbidden, MatrixError, NotFound
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.member_events import (
    MEMBER,
    build_changed_profile,
    membership_content,
    stage_membership,
)
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import Turn, Writer
from kvschema.catalog.members import BAN, JOIN, LEAVE
from kvschema.catalog.rooms import ShortUserId
from kvschema.errors import StorageFull

_log = logging.getLogger(__name__)

PROFILE_ROOMS_AT_ONCE = 8
"""Rooms that a changed profile is written to at the same time: shares an fsync among them, leaves room for others."""


class MembershipService:
    """One per server."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        locks: KeyedLocks,
        writes: RoomWrites,
        *,
        throttle: RateLimiter,
    ) -> None:
        self._throttle = throttle
        self._database = database
        self._writer = writer
        self._locks = locks
        self._writes = writes

    async def join(self, requester: Requester, room_id: RoomId, *, reason: str | None = None) -> RoomId:
        """Join a room that this server is in."""
        self._throttle(("join", requester.user_id))
        with self._database.snapshot() as snapshot:
            if rooms.get_room(snapshot, room_id) is None:
                raise NotFound(f"no server that is known here is in {room_id}")

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if append.get_membership(requester.user_id) != "join":
                content = membership_content("join", reason)
                stage_membership(snapshot, append, requester, requester.user_id, content)

        await self._writes.write(room_id, stage)
        return room_id

    async def invite(
        self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None
    ) -> None:
        """Invite a user of this server."""
        self._throttle(("invite", requester.user_id))
        await self._set(requester, room_id, user_id, membership_content("invite", reason))

    async def leave(self, requester: Requester, room_id: RoomId, *, reason: str | None = None) -> None:
        """Leave a room, reject an invite or take back a knock. Having left already is no error."""

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            current = append.get_state(MEMBER, requester.user_id)
            if current is None or current.content.get("membership") != "leave":
                content = membership_content("leave", reason)
                stage_membership(snapshot, append, requester, requester.user_id, content)

        await self._writes.write(room_id, stage)

    async def kick(self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None) -> None:
        """Make another user leave."""

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if append.get_membership(user_id) not in ("join", "invite", "knock"):
                raise Forbidden(f"{user_id} is not in the room")
            stage_membership(snapshot, append, requester, user_id, membership_content("leave", reason))

        await self._writes.write(room_id, stage)

    async def ban(self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None) -> None:
        """Make another user leave and keep them out."""
        await self._set(requester, room_id, user_id, membership_content("ban", reason))

    async def unban(self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None) -> None:
        """Let a banned user in again, if invited or the room is public."""

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if append.get_membership(user_id) != "ban":
                raise Forbidden(f"{user_id} is not banned")
            stage_membership(snapshot, append, requester, user_id, membership_content("leave", reason))

        await self._writes.write(room_id, stage)

    async def _set(self, requester: Requester, room_id: RoomId, user_id: UserId, content: Mapping[str, Any]) -> None:
        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            stage_membership(snapshot, append, requester, user_id, content)

        await self._writes.write(room_id, stage)

    async def forget(self, requester: Requester, room_id: RoomId) -> None:
        """Take a room that was left out of the user's lists for good. Raises 400 for a room the user is still in."""
        async with self._locks.hold(("room", room_id)), self._writer.turn() as turn:
            with self._database.snapshot() as snapshot:
                room = short_ids.get_room(snapshot, room_id)
                standing = None if room is None else members.get_membership(snapshot, requester.user, room)
                if room is None or standing is None:
                    raise NotFound(f"{requester.user_id} was never in {room_id}")
                kind, row = standing
                if kind not in (LEAVE, BAN):
                    raise MatrixError("leave the room before you forget it", errcode="M_UNKNOWN", status=400)
                if not row.forgotten:
                    members.stage_forgotten(turn, requester.user, room, kind, row)

    async def propagate_profile(self, user: ShortUserId, user_id: UserId) -> None:
        """Write a changed display name and avatar into every room the user is joined to.

        A room whose rules do not take it keeps the old ones; the profile is changed all the same.

        Spec: client-server-api/#events-on-change-of-profile-information
        """
        with self._database.snapshot() as snapshot:
            joined = [
                RoomId(short_ids.get_room_record(snapshot, room).room_id)
                for room, _ in members.scan_rooms(snapshot, user, JOIN)
            ]
        limiter = trio.CapacityLimiter(PROFILE_ROOMS_AT_ONCE)

        async def propagate(room_id: RoomId) -> None:
            async with limiter:
                try:
                    await self._writes.write(room_id, lambda *staging: _stage_profile(user, user_id, *staging))
                except (MatrixError, StorageFull) as error:
                    _log.warning("the profile of %s was not written into %s: %s", user_id, room_id, error)

        async with trio.open_nursery() as nursery:
            for room_id in joined:
                nursery.start_soon(propagate, room_id)


def _stage_profile(user: ShortUserId, user_id: UserId, snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
    current = append.get_state(MEMBER, user_id)
    if current is None or current.content.get("membership") != "join":
        return
    content = build_changed_profile(snapshot, user, current.content)
    if content != current.content:
        append.append(append.create_event(sender=user_id, type=MEMBER, content=content, state_key=user_id))
