"""Bringing users of ours into rooms that we do not take part in.

Servers that may be in the room are asked one after the other until one lets the user in and tells what can be the
room's state.

Spec: server-server-api/#joining-rooms
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from conduit_py.data import members
from conduit_py.log import get_logger
from conduit_py.matrix.ids import Malformed, RoomId, ServerName
from conduit_py.matrix.json_parts import Parts
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import InvalidSignature
from conduit_py.outbound.errors import Refused, RemoteError, Unreachable
from conduit_py.outbound.federation_handshakes import build_join_path
from conduit_py.service.errors import NotFound
from conduit_py.service.federation.checks import Checks
from conduit_py.service.federation.handshakes.accepting import Acceptance
from conduit_py.service.federation.handshakes.candidates import CANDIDATES_MAX, choose_candidates
from conduit_py.service.federation.handshakes.joins.behind import is_behind
from conduit_py.service.federation.handshakes.joins.early import EarlyEvents
from conduit_py.service.federation.handshakes.joins.installing import Installer
from conduit_py.service.federation.handshakes.joins.join_body import JoinBodies
from conduit_py.service.federation.handshakes.making import Making
from conduit_py.service.federation.handshakes.refusals import build_refusal
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.closed import require_open
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.users.store import Store
from conduit_py.storage.locks import KeyedLocks

_log = get_logger(__name__)


class Joining:
    """One per server."""

    def __init__(
        self,
        store: Store,
        making: Making,
        bodies: JoinBodies,
        checks: Checks,
        acceptance: Acceptance,
        installer: Installer,
        early: EarlyEvents,
    ) -> None:
        self._store = store
        self._acceptance = acceptance
        self._making = making
        self._bodies = bodies
        self._checks = checks
        self._installer = installer
        self._early = early
        # Of its own, because the locks of rooms are taken while one of these is held.
        self._locks = KeyedLocks()

    async def join(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> bool:
        """See ``Elsewhere.join``. One at a time for each room."""
        async with self._locks.hold(room_id):
            with self._store.snapshot() as snapshot:
                require_open(snapshot, room_id)
                if get_live_room(snapshot, room_id) is not None:
                    return False
                candidates = choose_candidates(snapshot, room_id, requester.user, via, own=self._making.server_name)
            with self._early.expect(room_id):
                await self._join_through(candidates, requester, room_id, content, self._install)
        return True

    async def join_live(self, requester: Requester, room_id: RoomId, content: Mapping[str, Any]) -> None:
        """See ``Elsewhere.join_live``."""
        with self._store.snapshot() as snapshot:
            require_open(snapshot, room_id)
            room = get_live_room(snapshot, room_id)
            servers = [] if room is None else list(members.scan_servers(snapshot, room.short))
        if room is None:
            raise NotFound(f"nobody on this server is in {room_id}")
        candidates = [name for name in servers if name != self._making.server_name][:CANDIDATES_MAX]

        async def add(version: RoomVersion, join: Pdu, parts: Parts) -> None:
            await self._acceptance.accept(room, join, ())

        await self._join_through(candidates, requester, room_id, content, add)

    async def _install(self, version: RoomVersion, join: Pdu, parts: Parts) -> None:
        await self._installer.install(join.room_id, version, join, parts)

    async def _join_through(
        self,
        candidates: Sequence[ServerName],
        requester: Requester,
        room_id: RoomId,
        content: Mapping[str, Any],
        take: Callable[[RoomVersion, Pdu, Parts], Awaitable[None]],
    ) -> None:
        errors: list[RemoteError] = []
        for destination in candidates:
            try:
                version, pdu = await self._making.make(destination, room_id, requester.user_id, content)
                self._require_up_to_date(destination, pdu)
                await self._hand_in(destination, version, pdu, take)
            except RemoteError as error:
                _log.info("a server does not let a user in", server=destination, room=room_id, error=str(error))
                errors.append(error)
            else:
                return
        raise build_refusal(room_id, errors)

    def _require_up_to_date(self, destination: ServerName, join: Pdu) -> None:
        """Raises ``Refused``, as that server itself will once it has heard of the ban."""
        with self._store.snapshot() as snapshot:
            if is_behind(snapshot, join):
                raise Refused(403, "M_FORBIDDEN", f"{join.sender} is banned, which {destination} has not heard of")

    async def _hand_in(
        self,
        destination: ServerName,
        version: RoomVersion,
        pdu: Pdu,
        take: Callable[[RoomVersion, Pdu, Parts], Awaitable[None]],
    ) -> None:
        try:
            async with self._bodies.fetch(destination, build_join_path(pdu.room_id, pdu.event_id), pdu.json) as parts:
                await take(version, await self._choose_join(version, pdu, parts), parts)
        except Malformed as error:
            raise Unreachable(f"{destination} answered with what is no room: {error}") from None

    async def _choose_join(self, version: RoomVersion, pdu: Pdu, parts: Parts) -> Pdu:
        """Our event with the signatures that it has got, if what came back is the same event.

        Spec: server-server-api/#put_matrixfederationv2send_joinroomideventid_response-200_signedmembershipevent
        """
        signed = parts.parse_part("event")
        if isinstance(signed, dict) and isinstance(signed.get("signatures"), dict):
            try:
                ours = {**pdu.json, "signatures": {**signed["signatures"], **pdu.signatures}}
                return await self._checks.check(ours, version)
            except (Malformed, InvalidSignature) as error:
                raise Unreachable(f"the join came back with signatures that are none: {error}") from None
        return pdu
