"""What may stand in a room's canonical alias: aliases that name the room.

Those of other servers are asked for before the room is written to, so that nobody waits for them in the room.

Spec: client-server-api/#mroomcanonical_alias
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio

from conduit_py.data import rooms, state
from conduit_py.matrix.ids import Malformed, RoomAlias, RoomId, parse_room_alias, server_name_of
from conduit_py.service.errors import BadJson, InvalidParam, MatrixError
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.aliases import CANONICAL_ALIAS, AliasService
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.write import require_joined
from conduit_py.storage.database import Database, Snapshot

REMOTE_ALIASES_MAX: Final = 20
"""New aliases of other servers in one event. They are all asked for at the same time."""


class CanonicalAliases:
    """One per server."""

    def __init__(self, database: Database, aliases: AliasService) -> None:
        self._database = database
        self._aliases = aliases

    async def fetch_remote(
        self, requester: Requester, room_id: RoomId, content: Mapping[str, Any]
    ) -> dict[RoomAlias, RoomId]:
        """The rooms that new aliases of other servers name. One that cannot be found out is left out.

        Raises ``Forbidden``, ``BadJson`` and ``InvalidParam``.
        """
        with self._database.snapshot() as snapshot:
            room = require_joined(snapshot, requester, room_id)
            current = state.get_current_pdu(snapshot, room.short, CANONICAL_ALIAS, "")
        new = _scan_new(content, None if current is None else current.content)
        remote = {alias for alias in new if server_name_of(alias) != self._aliases.server_name}
        if len(remote) > REMOTE_ALIASES_MAX:
            raise InvalidParam(f"at most {REMOTE_ALIASES_MAX} aliases of other servers can be added at once")
        found: dict[RoomAlias, RoomId] = {}

        async def ask(alias: RoomAlias) -> None:
            try:
                found[alias], _ = await self._aliases.resolve(alias)
            except MatrixError:
                return

        async with trio.open_nursery() as nursery:
            for alias in remote:
                nursery.start_soon(ask, alias)
        return found


def check_aliases(
    snapshot: Snapshot, append: RoomAppend, content: Mapping[str, Any], remote: Mapping[RoomAlias, RoomId]
) -> None:
    """Aliases that are new to the event must name this room. Raises ``M_BAD_ALIAS``.

    Spec: client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
    """
    current = append.get_state(CANONICAL_ALIAS, "")
    for alias in _scan_new(content, None if current is None else current.content):
        if server_name_of(alias) == append.server_name:
            row = rooms.get_alias(snapshot, alias)
            named = None if row is None else row.room_id
        else:
            named = remote.get(alias)
        if named != append.room.room_id:
            raise MatrixError(f"{alias} does not name this room", errcode="M_BAD_ALIAS", status=400)


def _scan_new(content: Mapping[str, Any], current: Mapping[str, Any] | None) -> list[RoomAlias]:
    """Aliases that the current event does not list. Raises ``BadJson`` and ``InvalidParam``."""
    known = set() if current is None else _known_aliases(current)
    try:
        return [parse_room_alias(alias) for alias in _aliases_of(content) if alias not in known]
    except Malformed as error:
        raise InvalidParam(str(error)) from None


def _aliases_of(content: Mapping[str, Any]) -> list[str]:
    alias, alternatives = content.get("alias"), content.get("alt_aliases", [])
    if not isinstance(alternatives, list) or not all(isinstance(entry, str) for entry in alternatives):
        raise BadJson("alt_aliases must be a list of aliases")
    if alias is not None and not isinstance(alias, str):
        raise BadJson("alias must be an alias")
    return [*([alias] if alias else []), *alternatives]


def _known_aliases(content: Mapping[str, Any]) -> set[str]:
    """What the current event lists. It may be of any form, and must be replaceable all the same."""
    alternatives = content.get("alt_aliases")
    listed = [content.get("alias"), *(alternatives if isinstance(alternatives, list) else ())]
    return {alias for alias in listed if isinstance(alias, str)}
