"""What somebody who may not be in a room is told about it, and who is told.

Spec: client-server-api/#get_matrixclientv1room_summaryroomidoralias
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from conduit_py.data import members, short_ids, state
from conduit_py.data.members import NAME_OF
from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import RoomId, ServerName, server_name_of
from conduit_py.service.errors import NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import is_world_readable
from conduit_py.service.rooms.directory import build_chunk
from conduit_py.service.rooms.member_events import is_in, scan_allowed_rooms
from conduit_py.service.rooms.remote_spaces import RemoteSpaces
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.rooms.server_acl import get_acl
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.members import BAN, INVITE, JOIN

_OPEN_RULES: Final = ("public", "knock", "knock_restricted")
INVITED_MAX: Final = 500
"""Invited users of a room among whom one of a server is looked for."""


class PreviewService:
    """One per server."""

    def __init__(self, database: Database, remote: RemoteSpaces) -> None:
        self._database = database
        self._remote = remote

    async def get_summary(
        self, requester: Requester | None, room_id: RoomId, *, via: Sequence[str] = ()
    ) -> dict[str, Any]:
        """What a room is, for somebody who may know of it; None is who shows no token. Raises ``NotFound``.

        Of a room that this server is not in, ``via`` are asked, and the server that its id names.

        Spec: client-server-api/#get_matrixclientv1room_summaryroomidoralias
        """
        with self._database.snapshot() as snapshot:
            room = get_live_room(snapshot, room_id)
            if room is not None:
                if not may_preview(snapshot, requester, room):
                    raise NotFound("Room not found.")
                return _add_membership(snapshot, requester, room_id, build_summary(snapshot, room))
        named = [server_name_of(room_id)] if ":" in room_id else []
        answer = await self._remote.fetch(room_id, [*via, *named], suggested_only=True)
        remote = answer[room_id]
        with self._database.snapshot() as snapshot:
            if remote is None or not may_preview_remote(snapshot, requester, remote.summary):
                raise NotFound("Room not found.")
            return _add_membership(snapshot, requester, room_id, dict(remote.summary))


def _add_membership(
    snapshot: Snapshot, requester: Requester | None, room_id: RoomId, summary: dict[str, Any]
) -> dict[str, Any]:
    if requester is not None:
        room = short_ids.get_room(snapshot, room_id)
        standing = None if room is None else members.get_membership(snapshot, requester.user, room)
        summary["membership"] = "leave" if standing is None else NAME_OF[standing[0]]
    return summary


def build_summary(snapshot: Snapshot, room: Room) -> dict[str, Any]:
    """A room's entry in the directory, and what somebody who thinks of joining wants to know beside that."""
    summary = build_chunk(snapshot, room.short)
    summary["room_version"] = room.version.id
    encryption = state.get_current_pdu(snapshot, room.short, "m.room.encryption", "")
    algorithm = None if encryption is None else encryption.content.get("algorithm")
    if isinstance(algorithm, str):
        summary["encryption"] = algorithm
    allowed = get_allowed_rooms(snapshot, room)
    if allowed:
        summary["allowed_room_ids"] = allowed
    return summary


def may_preview(snapshot: Snapshot, requester: Requester | None, room: Room) -> bool:
    """May somebody know of the room: because of who they are, or because anybody may read it, join it or knock?

    Spec: client-server-api/#get_matrixclientv1roomsroomidhierarchy_response-200_rooms
    """
    if is_world_readable(snapshot, room.short):
        return True
    standing = None if requester is None else members.get_membership(snapshot, requester.user, room.short)
    kind = None if standing is None else standing[0]
    if kind in (JOIN, INVITE):
        return True
    if kind == BAN:
        return False
    if _is_open(room, _get_join_rule(snapshot, room)):
        return True
    if requester is None:
        return False
    return any(is_in(snapshot, requester, room_id) for room_id in get_allowed_rooms(snapshot, room))


def may_preview_remote(snapshot: Snapshot, requester: Requester | None, summary: Mapping[str, Any]) -> bool:
    """The same for a room of which only another server told."""
    if summary["world_readable"] or summary.get("join_rule") in _OPEN_RULES:
        return True
    if requester is None:
        return False
    room = short_ids.get_room(snapshot, RoomId(summary["room_id"]))
    standing = None if room is None else members.get_membership(snapshot, requester.user, room)
    if standing is not None and standing[0] in (JOIN, INVITE):
        return True
    return any(is_in(snapshot, requester, room_id) for room_id in summary.get("allowed_room_ids", ()))


def may_server_preview(snapshot: Snapshot, server_name: ServerName, room: Room) -> bool:
    """Could a user of another server, whoever it is, read the room, join it, or ask to?

    Spec: server-server-api/#get_matrixfederationv1hierarchyroomid
    """
    if not get_acl(snapshot, room.short).allows(server_name):
        return False
    if is_world_readable(snapshot, room.short) or members.is_server_joined(snapshot, room.short, server_name):
        return True
    if _is_open(room, _get_join_rule(snapshot, room)):
        return True
    if any(_is_server_in(snapshot, server_name, room_id) for room_id in get_allowed_rooms(snapshot, room)):
        return True
    invited = islice(members.scan_members(snapshot, room.short, INVITE), INVITED_MAX)
    return any(server_name_of(short_ids.get_user_id(snapshot, user)) == server_name for user, _ in invited)


def _is_server_in(snapshot: Snapshot, server_name: ServerName, room_id: RoomId) -> bool:
    room = short_ids.get_room(snapshot, room_id)
    return room is not None and members.is_server_joined(snapshot, room, server_name)


def get_allowed_rooms(snapshot: Snapshot, room: Room) -> list[RoomId]:
    """The rooms whose members may join a restricted room, as far as its version knows of that.

    Spec: client-server-api/#restricted-rooms
    """
    rules, rule = room.version.auth, _get_join_rule(snapshot, room)
    is_restricted = (rule == "restricted" and rules.restricted_join_rule) or (
        rule == "knock_restricted" and rules.knock_restricted_join_rule
    )
    join_rules = state.get_current_pdu(snapshot, room.short, "m.room.join_rules", "") if is_restricted else None
    named = () if join_rules is None else scan_allowed_rooms(join_rules)
    return [room_id for room_id in dict.fromkeys(named) if room_id.startswith("!")]


def _is_open(room: Room, rule: str) -> bool:
    """May anybody who was not invited come in, or ask to be let in?"""
    rules = room.version.auth
    return (
        rule == "public"
        or (rule == "knock" and rules.knocking)
        or (rule == "knock_restricted" and rules.knock_restricted_join_rule)
    )


def _get_join_rule(snapshot: Snapshot, room: Room) -> str:
    join_rules = state.get_current_pdu(snapshot, room.short, "m.room.join_rules", "")
    rule = None if join_rules is None else join_rules.content.get("join_rule")
    return rule if isinstance(rule, str) else "invite"
