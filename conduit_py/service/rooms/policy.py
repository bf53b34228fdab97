"""Policy servers: a room may name a server whose signature all its events need.

Spec: server-server-api/#policy-servers
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from conduit_py.data import members, rooms, state
from conduit_py.log import get_logger
from conduit_py.matrix.ids import Malformed, RoomId
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.policy_server import (
    POLICY,
    POLICY_KEY_ID,
    PolicyServer,
    parse_policy_server,
    verify_policy_signature,
)
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import InvalidSignature
from conduit_py.outbound.errors import Refused, RemoteError, Unreachable
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.policy import fetch_policy_signature
from conduit_py.service.errors import MatrixError
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortRoomId

_log = get_logger(__name__)

ASKED_AT_ONCE: Final = 20
"""Events that policy servers are asked about at the same time."""


def find_policy_server(snapshot: Snapshot, room: ShortRoomId, policy: Pdu | None) -> PolicyServer | None:
    """The policy server that a room uses while ``policy`` is its ``m.room.policy``, None if it uses none.

    Spec: server-server-api/#determining-if-a-policy-server-is-enabled-in-a-room
    """
    policy_server = None if policy is None else parse_policy_server(policy.content)
    if policy_server is None or not members.is_server_joined(snapshot, room, policy_server.server_name):
        return None
    return policy_server


def get_policy_server(snapshot: Snapshot, room: ShortRoomId) -> PolicyServer | None:
    """The one that the room uses now."""
    return find_policy_server(snapshot, room, state.get_current_pdu(snapshot, room, *POLICY))


class PolicyServers:
    """Asks them. One per server."""

    def __init__(self, database: Database, fetcher: Fetcher) -> None:
        self._database = database
        self._fetcher = fetcher
        self._limiter = trio.CapacityLimiter(ASKED_AT_ONCE)

    async def fetch_signed(self, policy_server: PolicyServer, version: RoomVersion, pdus: Sequence[Pdu]) -> list[Pdu]:
        """The same events with the signatures that the room wants of them.

        Raises what the policy server gave as its reason, or 502 where it does not answer: such events are not sent.

        Spec: server-server-api/#validating-policy-server-signatures
        """
        signed = dict[int, Pdu]()
        failures: list[RemoteError] = []

        async def ask(index: int, pdu: Pdu) -> None:
            try:
                signed[index] = await self._fetch_one(policy_server, version, pdu)
            except RemoteError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for index, pdu in enumerate(pdus):
                nursery.start_soon(ask, index, pdu)
        if failures:
            raise _refusal(failures[0], policy_server)
        return [signed[index] for index in range(len(pdus))]

    async def ask_about(self, room_id: RoomId, pdus: Sequence[Pdu]) -> list[Pdu]:
        """Events of other servers, with the signatures that the room wants if they lacked them and they could be had.

        Whether they have them in the end is for whoever stores them to see. Never raises for a server that does not
        answer.

        Spec: server-server-api/#validating-policy-server-signatures
        """
        with self._database.snapshot() as snapshot:
            room = rooms.get_room(snapshot, room_id)
            policy_server = None if room is None else get_policy_server(snapshot, room.short)
        if room is None or policy_server is None:
            return list(pdus)
        return await self.ask(policy_server, room.version, pdus)

    async def ask(self, policy_server: PolicyServer, version: RoomVersion, pdus: Sequence[Pdu]) -> list[Pdu]:
        """The same for a room whose policy server is known."""
        asked = dict[int, Pdu]()

        async def ask(index: int, pdu: Pdu) -> None:
            try:
                asked[index] = await self._fetch_one(policy_server, version, pdu)
            except RemoteError as error:
                _log.debug("a policy server does not sign", room=pdu.room_id, event=pdu.event_id, error=str(error))

        async with trio.open_nursery() as nursery:
            for index, pdu in enumerate(pdus):
                nursery.start_soon(ask, index, pdu)
        return [asked.get(index, pdu) for index, pdu in enumerate(pdus)]

    async def _fetch_one(self, policy_server: PolicyServer, version: RoomVersion, pdu: Pdu) -> Pdu:
        if _is_signed(pdu, version, policy_server):
            return pdu
        async with self._limiter:
            signature = await fetch_policy_signature(self._fetcher, policy_server.server_name, pdu.json)
        of_server = pdu.signatures.get(policy_server.server_name)
        # The policy server may be the sender's own, whose other signature must stay.
        kept = of_server if isinstance(of_server, dict) else {}
        signatures = {**pdu.signatures, policy_server.server_name: {**kept, POLICY_KEY_ID: signature}}
        try:
            signed = parse_pdu({**pdu.json, "signatures": signatures}, version, event_id=pdu.event_id)
        except Malformed as error:
            raise Unreachable(f"{policy_server.server_name} answered with no signature: {error}") from None
        if not _is_signed(signed, version, policy_server):
            raise Unreachable(f"{policy_server.server_name} signed with another key than the room names")
        return signed


def _is_signed(pdu: Pdu, version: RoomVersion, policy_server: PolicyServer) -> bool:
    try:
        verify_policy_signature(pdu.json, version, policy_server)
    except InvalidSignature:
        return False
    return True


def _refusal(error: RemoteError, policy_server: PolicyServer) -> MatrixError:
    """The policy server's own error, as the spec wants.

    But for one about the token: that would be taken for this server's, and end the client's session.
    """
    if not isinstance(error, Refused) or not 400 <= error.status < 500:
        return MatrixError(
            f"the room's policy server {policy_server.server_name} does not answer", errcode="M_UNKNOWN", status=502
        )
    if error.status == 401:
        return MatrixError(error.message, errcode="M_FORBIDDEN", status=403)
    wait = {} if error.retry_after_ms is None else {"retry_after_ms": error.retry_after_ms}
    return MatrixError(error.message, errcode=error.errcode, status=error.status, extra=wait)
