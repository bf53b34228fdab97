"""What the handshakes need of the rest of federation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import RoomVersion


class PduChecks(Protocol):
    """Format, event id, signatures and content hash of events from outside."""

    async def check(self, raw: Mapping[str, Any], room_version: RoomVersion) -> Pdu:
        """The event, redacted where its content is not what its hash says.

        Raises ``Malformed`` and ``InvalidSignature``.
        """
        ...

    async def check_many(
        self, raws: Sequence[Mapping[str, Any]], room_version: RoomVersion
    ) -> Sequence[Pdu | Exception]:
        """The same for each of many, with what would have been raised in the place of the event."""
        ...


class Acceptance(Protocol):
    """Takes an event that another server built into a room we take part in."""

    async def accept(self, room: Room, pdu: Pdu, send_to: Iterable[ServerName]) -> None:
        """Return when the event is stored, and queued for the servers in ``send_to``. Raises ``Forbidden``."""
        ...
