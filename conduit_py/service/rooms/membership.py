"""Joining, inviting, leaving and everything else that changes who is in a room.

Spec: client-server-api/#room-membership
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import trio

from conduit_py.data import members, short_ids
from conduit_py.matrix.ids import EventId, RoomId, ServerName, UserId, server_name_of
from conduit_py.service.appservices.queries import AppServiceQueries
from conduit_py.service.errors import Forbidden, MatrixError, NotFound
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.closed import require_open
from conduit_py.service.rooms.elsewhere import Elsewhere
from conduit_py.service.rooms.guests import GuestsElsewhere, GuestsForbidden
from conduit_py.service.rooms.member_events import (
    MEMBER,
    build_changed_profile,
    get_shown_profile,
    membership_content,
    stage_membership,
)
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.rooms.successors import Successors
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.members import BAN, INVITE, JOIN, LEAVE
from kvschema.catalog.rooms import ShortUserId
from kvschema.errors import StorageFull

_log = logging.getLogger(__name__)

PROFILE_ROOMS_AT_ONCE = 8
"""Rooms that a changed profile is written to at the same time: shares an fsync among them, leaves room for others."""


class MembershipService:
    """One per server."""

    def __init__(
        self,
        store: Store,
        writes: RoomWrites,
        remote: Elsewhere,
        queries: AppServiceQueries,
        successors: Successors,
        guests: GuestsElsewhere,
        *,
        throttle: RateLimiter,
    ) -> None:
        self._store = store
        self._writes = writes
        self._remote = remote
        self._queries = queries
        self._successors = successors
        self._guests = guests
        self._throttle = throttle

    async def join(
        self,
        requester: Requester,
        room_id: RoomId,
        *,
        via: Sequence[ServerName] = (),
        reason: str | None = None,
        signed: Mapping[str, Any] | None = None,
    ) -> RoomId:
        """Join a room, by way of other servers if this one does not take part in it. ``via`` are some that may do.

        ``signed`` says that the requester has an address that was invited. Raises ``NotFound`` where no server is known
        that is in the room, what others refuse with, and what ``Elsewhere.redeem`` raises.
        """
        self._throttle(("join", requester.limited_as))
        with self._store.snapshot() as snapshot:
            require_open(snapshot, room_id)
        if signed is not None and not self._is_expected(requester, room_id):
            requester.require_not_suspended()
            await self._remote.redeem(requester, room_id, signed)
        await self._join(requester, room_id, via, membership_content("join", reason))
        await self._successors.follow(requester.user, room_id)
        return room_id

    async def _join(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> None:
        if not self._is_live(room_id) and await self._join_remote(requester, room_id, via, content):
            return

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if append.get_membership(requester.user_id) != "join":
                stage_membership(snapshot, append, requester, requester.user_id, content)

        try:
            await self._writes.write(room_id, stage)
        except MatrixError as error:
            if error.errcode != "M_UNABLE_TO_GRANT_JOIN" or not self._has_others(room_id):
                raise
            # The user may join, and only members on other servers can vouch for that.
            await self._remote.join_live(requester, room_id, self._show_profile(requester, content))

    def _is_expected(self, requester: Requester, room_id: RoomId) -> bool:
        """Is the requester invited, or in the room?"""
        with self._store.snapshot() as snapshot:
            room = short_ids.get_room(snapshot, room_id)
            standing = None if room is None else members.get_membership(snapshot, requester.user, room)
        return standing is not None and standing[0] in (JOIN, INVITE)

    async def _join_remote(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> bool:
        requester.require_not_suspended()
        if requester.is_guest:
            await self._guests.require_may_join(room_id, via)
        is_done = await self._remote.join(requester, room_id, via, self._show_profile(requester, content))
        if is_done and requester.is_guest and not self._guests.may_stay(room_id):
            await self.leave(requester, room_id)
            raise GuestsForbidden
        return is_done

    def _show_profile(self, requester: Requester, content: Mapping[str, Any]) -> dict[str, Any]:
        with self._store.snapshot() as snapshot:
            return {**get_shown_profile(snapshot, requester.user), **content}

    def _has_others(self, room_id: RoomId) -> bool:
        """Are there members on other servers?"""
        with self._store.snapshot() as snapshot:
            room = get_live_room(snapshot, room_id)
            servers = () if room is None else members.scan_servers(snapshot, room.short)
            return any(server_name != self._writes.append.server_name for server_name in servers)

    def _is_live(self, room_id: RoomId) -> bool:
        with self._store.snapshot() as snapshot:
            return get_live_room(snapshot, room_id) is not None

    async def invite(
        self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None
    ) -> None:
        """Invite a user of any server."""
        await self.set_member(requester, room_id, user_id, membership_content("invite", reason))

    async def set_member(
        self, requester: Requester, room_id: RoomId, user_id: UserId, content: Mapping[str, Any]
    ) -> EventId:
        """A membership, for which one need not be joined: it is how one joins, or rejects an invite."""
        membership = content.get("membership")
        if membership == "invite":
            self._throttle(("invite", requester.limited_as))
            if server_name_of(user_id) != self._writes.append.server_name:
                return await self._remote.invite(requester, room_id, user_id, content)
            await self._queries.ask_for_user(user_id)
        event_id = await self._set(requester, room_id, user_id, content)
        if membership == "join":
            await self._successors.follow(requester.user, room_id)
        return event_id

    async def leave(self, requester: Requester, room_id: RoomId, *, reason: str | None = None) -> None:
        """Leave a room, reject an invite or take back a knock. Having left already is no error."""
        content = membership_content("leave", reason)
        if not self._is_live(room_id) and await self._remote.leave(requester, room_id, content):
            return

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            current = append.get_state(MEMBER, requester.user_id)
            if current is None or current.content.get("membership") != "leave":
                stage_membership(snapshot, append, requester, requester.user_id, content)

        await self._writes.write(room_id, stage)

    async def kick(self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None) -> None:
        """Make another user leave."""
        self._throttle(("message", requester.limited_as))

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if append.get_membership(user_id) not in ("join", "invite", "knock"):
                raise Forbidden(f"{user_id} is not in the room")
            stage_membership(snapshot, append, requester, user_id, membership_content("leave", reason))

        await self._writes.write(room_id, stage)

    async def ban(self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None) -> None:
        """Make another user leave and keep them out."""
        self._throttle(("message", requester.limited_as))
        await self._set(requester, room_id, user_id, membership_content("ban", reason))

    async def unban(self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None) -> None:
        """Let a banned user in again, if invited or the room is public."""
        self._throttle(("message", requester.limited_as))

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if append.get_membership(requester.user_id) != "join":
                raise Forbidden(f"{requester.user_id} is not joined to {room_id}")
            if append.get_membership(user_id) != "ban":
                raise MatrixError(f"{user_id} is not banned", errcode="M_BAD_STATE", status=403)
            stage_membership(snapshot, append, requester, user_id, membership_content("leave", reason))

        await self._writes.write(room_id, stage)

    async def _set(self, requester: Requester, room_id: RoomId, user_id: UserId, content: Mapping[str, Any]) -> EventId:
        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> EventId:
            return stage_membership(snapshot, append, requester, user_id, content)

        return await self._writes.write(room_id, stage)

    async def forget(self, requester: Requester, room_id: RoomId) -> None:
        """Take a room that was left out of the user's lists for good. Raises 400 for a room the user is still in."""
        async with self._store.locks.hold(("room", room_id)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
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
        with self._store.snapshot() as snapshot:
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
