"""Joining, inviting, leaving and everything else that changes who is in a room.

Spec: client-server-api/#room-membership
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import trio

from conduit_py.data import members, profiles, rooms, short_ids
from conduit_py.matrix.ids import RoomAlias, RoomId, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.errors import Forbidden, MatrixError, NotFound
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import Turn, Writer
from kvschema.catalog.members import BAN, JOIN, LEAVE
from kvschema.catalog.rooms import ShortUserId

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

    def resolve(self, room_id_or_alias: str) -> RoomId:
        """The room that an id or a local alias names. Raises ``NotFound``."""
        if room_id_or_alias.startswith("!"):
            return RoomId(room_id_or_alias)
        with self._database.snapshot() as snapshot:
            alias = rooms.get_alias(snapshot, RoomAlias(room_id_or_alias))
        if alias is None:
            raise NotFound(f"no room has the alias {room_id_or_alias}")
        return RoomId(alias.room_id)

    async def join(self, requester: Requester, room_id: RoomId, *, reason: str | None = None) -> RoomId:
        """Join a room that this server is in."""
        self._throttle(("join", requester.user_id))
        with self._database.snapshot() as snapshot:
            if rooms.get_room(snapshot, room_id) is None:
                raise NotFound(f"no server that is known here is in {room_id}")

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if append.get_membership(requester.user_id) == "join":
                return
            content = member_content(snapshot, requester.user, "join", reason=reason)
            authoriser = _find_authoriser(snapshot, append, requester)
            if authoriser is not None:
                content["join_authorised_via_users_server"] = authoriser
            self._stage(append, requester.user_id, requester.user_id, content)

        await self._writes.write(room_id, stage)
        return room_id

    async def invite(
        self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None
    ) -> None:
        """Invite a user of this server."""
        self._throttle(("invite", requester.user_id))

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            content = invite_content(snapshot, append.server_name, user_id)
            if reason is not None:
                content["reason"] = reason
            self._stage(append, requester.user_id, user_id, content)

        await self._writes.write(room_id, stage)

    async def leave(self, requester: Requester, room_id: RoomId, *, reason: str | None = None) -> None:
        """Leave a room, reject an invite or take back a knock. Having left already is no error."""

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if append.get_membership(requester.user_id) == "leave":
                return
            self._stage(append, requester.user_id, requester.user_id, _content("leave", reason))

        await self._writes.write(room_id, stage)

    async def kick(self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None) -> None:
        """Make another user leave."""

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if append.get_membership(user_id) not in ("join", "invite", "knock"):
                raise Forbidden(f"{user_id} is not in the room")
            self._stage(append, requester.user_id, user_id, _content("leave", reason))

        await self._writes.write(room_id, stage)

    async def ban(self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None) -> None:
        """Make another user leave and keep them out."""

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            self._stage(append, requester.user_id, user_id, _content("ban", reason))

        await self._writes.write(room_id, stage)

    async def unban(self, requester: Requester, room_id: RoomId, user_id: UserId, *, reason: str | None = None) -> None:
        """Let a banned user in again, if invited or the room is public."""

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if append.get_membership(user_id) != "ban":
                raise Forbidden(f"{user_id} is not banned")
            self._stage(append, requester.user_id, user_id, _content("leave", reason))

        await self._writes.write(room_id, stage)

    def _stage(self, append: RoomAppend, sender: UserId, target: UserId, content: Mapping[str, Any]) -> None:
        pdu = append.create_event(sender=sender, type="m.room.member", content=content, state_key=target)
        append.append(pdu)

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
                await self._writes.write(room_id, lambda *staging: self._stage_profile(user, user_id, *staging))

        async with trio.open_nursery() as nursery:
            for room_id in joined:
                nursery.start_soon(propagate, room_id)

    def _stage_profile(
        self, user: ShortUserId, user_id: UserId, snapshot: Snapshot, turn: Turn, append: RoomAppend
    ) -> None:
        current = append.get_state("m.room.member", user_id)
        if current is None or current.content.get("membership") != "join":
            return
        content = member_content(snapshot, user, "join", kept=current.content)
        if content != current.content:
            self._stage(append, user_id, user_id, content)


def _content(membership: str, reason: str | None) -> dict[str, Any]:
    return {"membership": membership} if reason is None else {"membership": membership, "reason": reason}


_PROFILE = ("displayname", "avatar_url")
_NOT_KEPT = frozenset({*_PROFILE, "reason", "third_party_invite", "is_direct"})


def member_content(
    snapshot: Snapshot,
    user: ShortUserId,
    membership: str,
    *,
    reason: str | None = None,
    kept: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Content of a local user's membership event, with the profile. ``kept`` is the event that it follows."""
    profile = profiles.get_profile(snapshot, user)
    content = {key: value for key, value in (kept or {}).items() if key not in _NOT_KEPT}
    content.update(_content(membership, reason))
    content.update({key: profile[key] for key in _PROFILE if profile.get(key) is not None})
    return content


def invite_content(snapshot: Snapshot, server_name: str, user_id: UserId, *, is_direct: bool = False) -> dict[str, Any]:
    """Content of an invite. Raises ``Forbidden`` for a user of another server, ``NotFound`` for one without account."""
    if server_name_of(user_id) != server_name:
        raise Forbidden(f"{user_id} cannot be invited: this server does not federate")
    user = short_ids.get_user(snapshot, user_id)
    if user is None:
        raise NotFound(f"{user_id} has no account on this server")
    content = member_content(snapshot, user, "invite")
    return content | {"is_direct": True} if is_direct else content


def _find_authoriser(snapshot: Snapshot, append: RoomAppend, requester: Requester) -> UserId | None:
    """A local member with the power to invite who vouches for a restricted join, where one is needed.

    Spec: client-server-api/#restricted-rooms
    """
    rules = append.room.version.auth
    join_rules = append.get_state("m.room.join_rules", "")
    rule = None if join_rules is None else join_rules.content.get("join_rule")
    is_restricted = (rule == "restricted" and rules.restricted_join_rule) or (
        rule == "knock_restricted" and rules.knock_restricted_join_rule
    )
    if join_rules is None or not is_restricted or append.get_membership(requester.user_id) == "invite":
        return None
    if not any(_is_in(snapshot, requester, room_id) for room_id in _allowed_rooms(join_rules)):
        raise Forbidden("the room takes only members of certain other rooms")
    levels = append.power_levels()
    for user in append.scan_local_joined():
        user_id = short_ids.get_user_id(snapshot, user)
        if levels.of_user(user_id) >= levels.to_invite():
            return user_id
    raise MatrixError("nobody on this server may let new members in", errcode="M_UNABLE_TO_GRANT_JOIN", status=400)


def _allowed_rooms(join_rules: Pdu) -> Iterable[RoomId]:
    allow = join_rules.content.get("allow")
    for condition in allow if isinstance(allow, list) else []:
        if isinstance(condition, dict) and condition.get("type") == "m.room_membership":
            room_id = condition.get("room_id")
            if isinstance(room_id, str):
                yield RoomId(room_id)


def _is_in(snapshot: Snapshot, requester: Requester, room_id: RoomId) -> bool:
    room = short_ids.get_room(snapshot, room_id)
    return room is not None and members.is_joined(snapshot, requester.user, room)
