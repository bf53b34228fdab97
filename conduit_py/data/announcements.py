"""What other servers are to be told of the keys of local users, and the place that each user's stream has reached."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import e2ee
from kvschema.catalog.e2ee import Announcement, ByPosition
from kvschema.catalog.rooms import ShortRoomId, ShortUserId, StreamPos
from kvschema.catalog.users import ByUser

__all__ = [
    "Announcement",
    "get_stream_id",
    "scan_announcements",
    "stage_announced",
    "stage_announcement",
    "stage_joined",
    "stage_stream_forgotten",
    "stage_stream_id",
]


def scan_announcements(snapshot: Snapshot) -> Iterator[tuple[StreamPos, Announcement]]:
    """What waits, in order."""
    for key, row in e2ee.ANNOUNCEMENTS.scan(snapshot):
        yield key.pos, row


def stage_announcement(turn: Turn, user: ShortUserId, device_id: str) -> None:
    """Note a change of a device, or with an empty id of cross-signing keys."""
    turn.batch.put(e2ee.ANNOUNCEMENTS, ByPosition(StreamPos(turn.take_pos())), Announcement(user, device_id))


def stage_joined(turn: Turn, user: ShortUserId, room: ShortRoomId) -> None:
    """Note that a user joined a room: its servers may know the devices from another time."""
    turn.batch.put(e2ee.ANNOUNCEMENTS, ByPosition(StreamPos(turn.take_pos())), Announcement(user, "", room))


def stage_announced(turn: Turn, pos: StreamPos) -> None:
    turn.batch.delete(e2ee.ANNOUNCEMENTS, ByPosition(pos))


def get_stream_id(snapshot: Snapshot, user: ShortUserId) -> int:
    """That of the last update about a local user's devices; 0 if there was none."""
    return e2ee.LIST_STREAM.get(snapshot, ByUser(user)) or 0


def stage_stream_forgotten(turn: Turn, user: ShortUserId) -> None:
    """Something changes that nobody is told of: the next update follows none."""
    turn.batch.delete(e2ee.LIST_STREAM, ByUser(user))


def stage_stream_id(turn: Turn, user: ShortUserId, stream_id: int) -> None:
    turn.batch.put(e2ee.LIST_STREAM, ByUser(user), stream_id)
