"""Rooms that this server does not take part in, and users of other servers: what has to be done through others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from conduit_py.matrix.ids import EventId, RoomId, ServerName, UserId
from conduit_py.service.requester import Requester


class Elsewhere(Protocol):
    """Each raises what the other servers refuse with as a ``MatrixError``, and 502 if none can be reached.

    ``via`` are servers that may be in the room, and ``content`` is what the membership event says.
    """

    async def join(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> bool:
        """Bring the requester into a room. False if this server has come to take part in it meanwhile."""
        ...

    async def join_live(self, requester: Requester, room_id: RoomId, content: Mapping[str, Any]) -> None:
        """Bring the requester into a restricted room that this server takes part in, and whose members here may let
        nobody in.
        """
        ...

    async def knock(
        self, requester: Requester, room_id: RoomId, via: Sequence[ServerName], content: Mapping[str, Any]
    ) -> bool:
        """Knock on a room. False if this server has come to take part in it meanwhile."""
        ...

    async def leave(self, requester: Requester, room_id: RoomId, content: Mapping[str, Any]) -> bool:
        """Reject an invite or take back a knock, also if no other server answers. Having left is no error.

        Raises ``Forbidden`` for who never had to do with the room. False if this server takes part in it.
        """
        ...

    async def invite(
        self, requester: Requester, room_id: RoomId, user_id: UserId, content: Mapping[str, Any]
    ) -> EventId:
        """Invite a user of another server to a room that this one takes part in."""
        ...

    async def redeem(self, requester: Requester, room_id: RoomId, signed: Mapping[str, Any]) -> None:
        """Be invited for having an address that was invited, as an identity server has signed it.

        Raises ``InvalidParam``, and ``Forbidden`` where there is no such invite for the requester.
        """
        ...
