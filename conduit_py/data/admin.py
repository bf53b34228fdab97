"""The Admin Room, the commands that wait in it, and what administrators have set."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.matrix.ids import RoomId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import admin, server
from kvschema.catalog.admin import AdminCommand
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.server import ByName
from kvschema.catalog.timeline import ByShortEvent

_ROOM = ByName("admin_room")
_CLOSED = ByName("registration_closed")


def get_admin_room(snapshot: Snapshot) -> RoomId | None:
    """None before the first start that made it."""
    raw = server.GLOBAL.get(snapshot, _ROOM)
    return None if raw is None else RoomId(raw.decode())


def stage_admin_room(turn: Turn, room_id: RoomId) -> None:
    """The batch is refused if there is one already."""
    turn.batch.require_absent(server.GLOBAL, _ROOM)
    turn.batch.put(server.GLOBAL, _ROOM, room_id.encode())


def is_registration_closed(snapshot: Snapshot) -> bool:
    """Did an administrator close registration, whatever the configuration says?"""
    return server.GLOBAL.has(snapshot, _CLOSED)


def stage_registration_closed(turn: Turn, *, is_closed: bool) -> None:
    if is_closed:
        turn.batch.put(server.GLOBAL, _CLOSED, b"1")
    else:
        turn.batch.delete(server.GLOBAL, _CLOSED)


def scan_commands(snapshot: Snapshot) -> Iterator[tuple[ShortEventId, AdminCommand]]:
    """The messages that wait to be obeyed, oldest first."""
    for key, row in admin.ADMINCOMMAND.scan(snapshot):
        yield key.event, row


def count_commands(snapshot: Snapshot) -> int:
    return snapshot.count(admin.ADMINCOMMAND.name)


def stage_command(turn: Turn, event: ShortEventId, row: AdminCommand) -> None:
    turn.batch.put(admin.ADMINCOMMAND, ByShortEvent(event), row)


def stage_command_done(turn: Turn, event: ShortEventId) -> None:
    turn.batch.delete(admin.ADMINCOMMAND, ByShortEvent(event))
