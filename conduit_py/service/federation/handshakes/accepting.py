"""Membership events that were built with another server become part of a room that we take part in."""

from __future__ import annotations

from collections.abc import Iterable

from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.errors import Forbidden
from conduit_py.service.rooms.receive import MissingEvents, Receipt
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn


class Acceptance:
    """One per server."""

    def __init__(self, writes: RoomWrites) -> None:
        self._writes = writes

    async def accept(self, room: Room, pdu: Pdu, send_to: Iterable[ServerName]) -> None:
        """Return when the event is stored, and queued for the servers in ``send_to``.

        Raises ``Forbidden`` for what the rules do not allow, and for what refers to events that we do not have: the
        room may have moved on since the event was proposed, but it was we who proposed it.
        """

        def also(snapshot: Snapshot, turn: Turn, receipt: Receipt) -> None:
            outbox = self._writes.append.tools.outbox
            outbox.stage_pdu(snapshot, turn, room.short, receipt.event, pdu, send_to)

        try:
            await self._writes.accept(room.room_id, pdu, also)
        except MissingEvents as error:
            raise Forbidden(f"{pdu.event_id} cannot be judged: {error}") from None
