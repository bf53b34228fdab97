"""What is sent to the Admin Room: commands are queued in the batch of the message, and some events are refused.

So a command that was accepted is not lost, and the room stays what it is for: readable to the server, and there.
"""

from __future__ import annotations

from typing import Final

import trio

from conduit_py.data import admin, short_ids
from conduit_py.matrix.house import server_user_id
from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.admin.messages import Addressing, Order
from conduit_py.service.errors import Forbidden, LimitExceeded
from conduit_py.service.rooms.member_events import MEMBER
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.admin import COMMANDS_WAITING_MAX, AdminCommand
from kvschema.catalog.rooms import ShortEventId, ShortRoomId

REFUSED: Final = {
    "m.room.encryption": "the Admin Room stays unencrypted: the server has to read the commands in it",
    "m.room.tombstone": "the Admin Room cannot be replaced",
}


class CommandQueue:
    """One per server."""

    def __init__(self, server_name: ServerName) -> None:
        self.user_id = server_user_id(server_name)
        """The server's own account."""
        self._addressing = Addressing(self.user_id)
        self._room: ShortRoomId | None = None
        self._has_more = trio.Event()

    def open(self, room: ShortRoomId) -> None:
        """This is the Admin Room. Until it is known there are no commands."""
        self._room = room

    def listen(self) -> trio.Event:
        """Is set when something more waits. Take it before looking."""
        self._has_more = trio.Event()
        return self._has_more

    def find_order(self, pdu: Pdu) -> Order | None:
        """What a message tells the server to do, if it does."""
        return self._addressing.find_order(pdu.content) if pdu.type == "m.room.message" else None

    def stage_sent(self, snapshot: Snapshot, turn: Turn, room: ShortRoomId, event: ShortEventId, pdu: Pdu) -> None:
        """Look at an event that is sent to any room. Raises ``Forbidden``, and ``LimitExceeded`` if too much waits."""
        if room != self._room:
            return
        if pdu.type in REFUSED and pdu.state_key is not None:
            raise Forbidden(REFUSED[pdu.type])
        if (pdu.type, pdu.state_key) == (MEMBER, self.user_id) and pdu.content.get("membership") != "join":
            raise Forbidden("the server's own account stays in the Admin Room")
        if self.find_order(pdu) is not None:
            if admin.count_commands(snapshot) >= COMMANDS_WAITING_MAX:
                raise LimitExceeded("too many commands wait to be done: try again when some of them are")
            admin.stage_command(turn, event, AdminCommand())
            turn.on_landed(lambda: self._has_more.set())


def find_admin_room(snapshot: Snapshot) -> ShortRoomId | None:
    """The Admin Room, if it was made."""
    room_id = admin.get_admin_room(snapshot)
    return None if room_id is None else short_ids.get_room(snapshot, room_id)
