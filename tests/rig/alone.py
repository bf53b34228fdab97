"""Stands for other servers where a server under test has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from conduit_py.matrix.ids import EventId, RoomId, ServerName, UserId
from conduit_py.service.errors import Forbidden, NotFound
from conduit_py.service.requester import Requester


class Alone:
    """The ``Elsewhere`` of a server that knows no other."""

    async def join(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> bool:
        await trio.lowlevel.checkpoint()
        raise NotFound(f"no server that is known here is in {room_id}")

    async def join_live(self, requester: Requester, room_id: RoomId, content: Mapping[str, Any]) -> None:
        await self.join(requester, room_id, (), content)

    async def knock(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> bool:
        return await self.join(requester, room_id, via, content)

    async def leave(self, requester: Requester, room_id: RoomId, content: Mapping[str, Any]) -> bool:
        await trio.lowlevel.checkpoint()
        raise Forbidden(f"{requester.user_id} is not in {room_id}")

    async def invite(
        self, requester: Requester, room_id: RoomId, user_id: UserId, content: Mapping[str, Any]
    ) -> EventId:
        await trio.lowlevel.checkpoint()
        raise Forbidden(f"{user_id} cannot be invited: there is no other server")

    async def redeem(self, requester: Requester, room_id: RoomId, signed: Mapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        raise Forbidden(f"there is no such invite to {room_id}")
