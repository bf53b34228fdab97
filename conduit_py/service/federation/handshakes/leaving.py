"""Knocking on rooms that we do not take part in, and rejecting invites to them.

Spec: server-server-api/#knocking-rooms, server-server-api/#leaving-rooms-rejecting-invites
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio

from conduit_py.data import short_ids
from conduit_py.log import get_logger
from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.outbound.errors import RemoteError
from conduit_py.outbound.federation_handshakes import fetch_knocked, fetch_left
from conduit_py.service.errors import Forbidden
from conduit_py.service.federation.checks import Checks
from conduit_py.service.federation.handshakes.candidates import choose_candidates
from conduit_py.service.federation.handshakes.making import Making
from conduit_py.service.federation.handshakes.outside import Change, Outside, build_shown, is_waiting
from conduit_py.service.federation.handshakes.refusals import build_refusal
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.closed import require_open
from conduit_py.service.users.store import Store
from kvschema.catalog.members import LEAVE

_log = get_logger(__name__)

LEAVE_TIMEOUT_S: Final = 60.0
"""For all servers together: the user wants to be rid of the invite."""
LEAVE_SERVERS_MAX: Final = 3


class Leaving:
    """One per server."""

    def __init__(self, store: Store, making: Making, outside: Outside) -> None:
        self._store = store
        self._making = making
        self._outside = outside

    async def leave(self, requester: Requester, room_id: RoomId, content: Mapping[str, Any]) -> bool:
        """See ``Elsewhere.leave``."""
        with self._store.snapshot() as snapshot:
            standing = self._outside.get(snapshot, room_id, requester.user_id)
            room = short_ids.get_room(snapshot, room_id)
            if standing is None or room is None:
                raise Forbidden(f"{requester.user_id} is not in {room_id}")
            version_id = short_ids.get_room_record(snapshot, room).room_version
            candidates = choose_candidates(snapshot, room_id, requester.user, (), own=self._making.server_name)
        if standing[0] == LEAVE:
            return True
        if not is_waiting(standing):
            raise Forbidden(f"{requester.user_id} is not in {room_id}")
        pdu = await self._tell(requester, room_id, content, candidates)
        change = Change(
            user_id=requester.user_id,
            membership="leave",
            sender=requester.user_id,
            event_id="" if pdu is None else pdu.event_id,
            pdu=pdu,
        )
        return await self._outside.put(room_id, version_id, change, instead_of=standing)

    async def _tell(
        self, requester: Requester, room_id: RoomId, content: Mapping[str, Any], candidates: Sequence[ServerName]
    ) -> Pdu | None:
        """Let a server in the room know. Where none listens, the user is rid of the invite all the same."""
        with trio.move_on_after(LEAVE_TIMEOUT_S):
            for destination in candidates[:LEAVE_SERVERS_MAX]:
                try:
                    _, pdu = await self._making.make(destination, room_id, requester.user_id, content)
                    await fetch_left(self._making.fetcher, destination, room_id, pdu.event_id, pdu.json)
                except RemoteError as error:
                    _log.info("a server does not let a user go", server=destination, room=room_id, error=str(error))
                else:
                    return pdu
        return None


class Knocking:
    """One per server."""

    def __init__(self, store: Store, making: Making, outside: Outside, checks: Checks) -> None:
        self._store = store
        self._making = making
        self._outside = outside
        self._checks = checks

    async def knock(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> bool:
        """See ``Elsewhere.knock``."""
        with self._store.snapshot() as snapshot:
            require_open(snapshot, room_id)
            candidates = choose_candidates(snapshot, room_id, requester.user, via, own=self._making.server_name)
        errors: list[RemoteError] = []
        for destination in candidates:
            try:
                return await self._knock_through(destination, requester, room_id, content)
            except RemoteError as error:
                errors.append(error)
        raise build_refusal(room_id, errors)

    async def _knock_through(
        self, destination: ServerName, requester: Requester, room_id: RoomId, content: Mapping[str, Any]
    ) -> bool:
        version, pdu = await self._making.make(destination, room_id, requester.user_id, content)
        told = await fetch_knocked(self._making.fetcher, destination, room_id, pdu.event_id, pdu.json)
        shown, problem = await build_shown(self._checks, version, room_id, told, pdu.json)
        if problem is not None:
            _log.info("some of what was told of a room does not hold", room=room_id, error=problem)
        change = Change(
            user_id=requester.user_id,
            membership="knock",
            sender=requester.user_id,
            event_id=pdu.event_id,
            stripped_state=shown,
            pdu=pdu,
        )
        return await self._outside.put(room_id, version.id, change)
