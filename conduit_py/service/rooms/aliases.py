"""Aliases: names for rooms. Each is known to the server it ends in, so those of others are asked for.

Who is in a room may give it an alias of this server. The alias goes when its maker wants it to, an administrator of the
server, or whoever may set the room's canonical alias.

Spec: client-server-api/#room-aliases
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit_py.data import members, rooms, short_ids
from conduit_py.matrix.house import admin_room_alias
from conduit_py.matrix.ids import RoomAlias, RoomId, ServerName, UserId, parse_room_alias, server_name_of
from conduit_py.outbound.errors import Refused, Unreachable
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.federation_queries import fetch_directory
from conduit_py.service.appservices.queries import AppServiceQueries
from conduit_py.service.errors import Forbidden, InvalidParam, MatrixError, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import is_world_readable
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.write import RoomWrites, require_joined
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import AliasRecord
from kvschema.errors import PreconditionFailed

ALIASES_PER_ROOM_MAX = 100
"""Nobody needs more, and a list of them is one answer."""

SERVERS_MAX = 50
"""Servers that are named to join a room through. Whoever joins asks a few of them."""

CANONICAL_ALIAS = "m.room.canonical_alias"


class AliasService:
    """One per server."""

    def __init__(
        self,
        database: Database,
        writes: RoomWrites,
        fetcher: Fetcher,
        queries: AppServiceQueries,
        *,
        server_name: ServerName,
    ) -> None:
        self._database = database
        self._writes = writes
        self._fetcher = fetcher
        self._appservices = queries.appservices
        self._queries = queries
        self.server_name = server_name

    async def resolve(self, alias: RoomAlias) -> tuple[RoomId, list[ServerName]]:
        """The room that an alias names, and servers that can help to join it, the best first.

        Raises ``NotFound``, and 502 where the alias is of a server that does not answer.

        Spec: client-server-api/#get_matrixclientv3directoryroomroomalias
        """
        if server_name_of(alias) == self.server_name:
            return await self.resolve_here(alias)
        try:
            found = await fetch_directory(self._fetcher, server_name_of(alias), alias)
        except Refused:
            raise _unknown(alias) from None
        except Unreachable:
            raise MatrixError(f"{server_name_of(alias)} does not answer", errcode="M_UNKNOWN", status=502) from None
        return found.room_id, found.servers or [server_name_of(alias)]

    async def resolve_here(self, alias: RoomAlias) -> tuple[RoomId, list[ServerName]]:
        """What this server knows of an alias. Raises ``NotFound``.

        One that is not there may be of an application service, which makes rooms when they are wanted.

        Spec: server-server-api/#get_matrixfederationv1querydirectory
        """
        try:
            return self._find(alias)
        except NotFound:
            is_own = server_name_of(alias) == self.server_name
            if not is_own or not await self._queries.ask_for_alias(alias):
                raise
        return self._find(alias)

    async def find_room(self, room_id_or_alias: RoomId | RoomAlias) -> tuple[RoomId, list[ServerName]]:
        """The same for what may be a room's id already, with which no servers come."""
        if room_id_or_alias.startswith("!"):
            return RoomId(room_id_or_alias), []
        return await self.resolve(parse_room_alias(room_id_or_alias))

    def _find(self, alias: RoomAlias) -> tuple[RoomId, list[ServerName]]:
        with self._database.snapshot() as snapshot:
            room_id = RoomId(self._require(snapshot, alias).room_id)
            room = short_ids.get_room(snapshot, room_id)
            crowds = [] if room is None else list(members.get_servers_with_counts(snapshot, room).items())
        # The more users a server has in the room, the longer it will be in it.
        names = [name for name, _ in sorted(crowds, key=lambda crowd: (-crowd[1], crowd[0]))]
        is_here = self.server_name in names or not names
        others = [name for name in names if name != self.server_name]
        return room_id, [*([self.server_name] if is_here else []), *others][:SERVERS_MAX]

    async def set_alias(self, requester: Requester, alias: RoomAlias, room_id: RoomId) -> None:
        """Give a room that the requester is in an alias.

        Raises ``Forbidden``, ``InvalidParam``, ``M_EXCLUSIVE`` and 409 ``M_UNKNOWN``.

        Spec: client-server-api/#put_matrixclientv3directoryroomroomalias
        """
        if server_name_of(alias) != self.server_name:
            raise InvalidParam(f"aliases that are made here end in :{self.server_name}")
        if alias == admin_room_alias(self.server_name):
            raise _taken(alias)
        self._appservices.check_alias(alias, requester.appservice_id)

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            require_joined(snapshot, requester, room_id)
            if rooms.get_alias(snapshot, alias) is not None:
                raise _taken(alias)
            if sum(1 for _ in rooms.scan_aliases(snapshot, append.room.short)) >= ALIASES_PER_ROOM_MAX:
                raise Forbidden(f"the room has {ALIASES_PER_ROOM_MAX} aliases already, and cannot have more")
            rooms.stage_alias(turn, append.room.short, room_id, alias, requester.user_id)

        try:
            await self._writes.write(room_id, stage)
        except PreconditionFailed:
            raise _taken(alias) from None

    async def delete_alias(self, requester: Requester, alias: RoomAlias) -> None:
        """Take an alias from its room, and out of the canonical alias event too if the requester may change that.

        Raises ``NotFound``, ``Forbidden`` or ``M_EXCLUSIVE``.

        Spec: client-server-api/#delete_matrixclientv3directoryroomroomalias
        """
        if alias == admin_room_alias(self.server_name):
            raise Forbidden("this alias names the Admin Room, and stays with it")
        owns = self._appservices.owns_alias(requester.appservice_id, alias)
        if not owns:
            self._appservices.check_alias(alias, None)
        with self._database.snapshot() as snapshot:
            room_id = RoomId(self._require(snapshot, alias).room_id)

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            # The alias may have gone, and come back for another room, while this waited for the room.
            record = self._require(snapshot, alias)
            if record.room_id != room_id:
                raise _unknown(alias)
            may_set_canonical = _may_set_canonical(append, requester.user_id)
            may_delete = owns or requester.is_admin or record.creator == requester.user_id
            if not may_delete and not may_set_canonical:
                raise Forbidden("an alias is deleted by who made it, or with the power to set the canonical alias")
            rooms.stage_alias_deleted(turn, append.room.short, alias)
            if may_set_canonical:
                _stage_no_longer_canonical(append, requester.user_id, alias)

        await self._writes.write(room_id, stage)

    def get_local_aliases(self, requester: Requester, room_id: RoomId) -> list[RoomAlias]:
        """The aliases of a room that the requester is in, or that anybody may read. Raises ``Forbidden``.

        Spec: client-server-api/#get_matrixclientv3roomsroomidaliases
        """
        with self._database.snapshot() as snapshot:
            room = short_ids.get_room(snapshot, room_id)
            if room is None or not is_world_readable(snapshot, room):
                room = require_joined(snapshot, requester, room_id).short
            return list(rooms.scan_aliases(snapshot, room))

    def _require(self, snapshot: Snapshot, alias: RoomAlias) -> AliasRecord:
        record = rooms.get_alias(snapshot, alias)
        if record is None:
            raise _unknown(alias)
        return record


def may_send_state(append: RoomAppend, user_id: UserId, type: str) -> bool:
    """Is the user in the room, with the power to send state of this type?"""
    levels = append.power_levels()
    return append.get_membership(user_id) == "join" and levels.of_user(user_id) >= levels.to_send(type, is_state=True)


def _may_set_canonical(append: RoomAppend, user_id: UserId) -> bool:
    return may_send_state(append, user_id, CANONICAL_ALIAS)


def _stage_no_longer_canonical(append: RoomAppend, user_id: UserId, alias: RoomAlias) -> None:
    current = append.get_state(CANONICAL_ALIAS, "")
    if current is None:
        return
    content = _without(current.content, alias)
    if content != current.content:
        append.append(append.create_event(sender=user_id, type=CANONICAL_ALIAS, content=content, state_key=""))


def _without(content: Mapping[str, Any], alias: RoomAlias) -> dict[str, Any]:
    rest = {key: value for key, value in content.items() if not (key == "alias" and value == alias)}
    alternatives = rest.get("alt_aliases")
    if isinstance(alternatives, list) and alias in alternatives:
        rest["alt_aliases"] = [other for other in alternatives if other != alias]
    return rest


def _taken(alias: RoomAlias) -> MatrixError:
    return MatrixError(f"Room alias {alias} already exists.", errcode="M_UNKNOWN", status=409)


def _unknown(alias: RoomAlias) -> NotFound:
    return NotFound(f"Room alias {alias} not found.")
