"""What our users do in rooms of other servers, and to users of theirs: see ``service.rooms.elsewhere``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conduit_py.matrix.ids import EventId, RoomId, ServerName, UserId
from conduit_py.service.errands import Errands
from conduit_py.service.federation.handshakes.invites.inviting import Inviting
from conduit_py.service.federation.handshakes.invites.third_party import ThirdPartyInvites
from conduit_py.service.federation.handshakes.joins.joining import Joining
from conduit_py.service.federation.handshakes.leaving import Knocking, Leaving
from conduit_py.service.requester import Requester


class ThroughOthers:
    """One per server. Whatever was begun with another server goes on if the client hangs up."""

    def __init__(
        self,
        errands: Errands,
        joining: Joining,
        knocking: Knocking,
        leaving: Leaving,
        inviting: Inviting,
        third_party: ThirdPartyInvites,
    ) -> None:
        self._errands = errands
        self._joining = joining
        self._knocking = knocking
        self._leaving = leaving
        self._inviting = inviting
        self._third_party = third_party

    async def join(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> bool:
        return await self._errands.do(lambda: self._joining.join(requester, room_id, via, content))

    async def join_live(self, requester: Requester, room_id: RoomId, content: Mapping[str, Any]) -> None:
        await self._errands.do(lambda: self._joining.join_live(requester, room_id, content))

    async def knock(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> bool:
        return await self._errands.do(lambda: self._knocking.knock(requester, room_id, via, content))

    async def leave(self, requester: Requester, room_id: RoomId, content: Mapping[str, Any]) -> bool:
        return await self._errands.do(lambda: self._leaving.leave(requester, room_id, content))

    async def invite(
        self, requester: Requester, room_id: RoomId, user_id: UserId, content: Mapping[str, Any]
    ) -> EventId:
        return await self._errands.do(lambda: self._inviting.invite(requester, room_id, user_id, content))

    async def redeem(self, requester: Requester, room_id: RoomId, signed: Mapping[str, Any]) -> None:
        await self._third_party.redeem(requester.user_id, room_id, signed)
