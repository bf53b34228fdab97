"""The Admin Room and the commands that wait in it: ``kvschema.catalog.admin``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.admin import get_admin_room, scan_commands
from conduit_py.data.short_ids import get_room
from conduit_py.data.timeline import get_row
from conduit_py.storage.database import Snapshot


def check_room(snapshot: Snapshot) -> Iterator[str]:
    """What is said to be the Admin Room is a room."""
    room_id = get_admin_room(snapshot)
    if room_id is not None and get_room(snapshot, room_id) is None:
        yield f"global: the Admin Room is {room_id}, which there is not"


def check_commands(snapshot: Snapshot) -> Iterator[str]:
    """Commands that wait are messages in the Admin Room."""
    room_id = get_admin_room(snapshot)
    room = None if room_id is None else get_room(snapshot, room_id)
    for event, _ in scan_commands(snapshot):
        row = get_row(snapshot, event)
        if row is None or row.room != room:
            yield f"admincommand: {event} is no message in the Admin Room"
