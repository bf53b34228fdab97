"""Account data of a user, in stream order and by type. Push rules are stored here too, as what the user changed."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.apart import REASON_OF, stage_apart
from conduit_py.data.digest import digest
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import account_data
from kvschema.catalog.account_data import GLOBAL_ROOM, AccountData, UserRoomType
from kvschema.catalog.members import UserPos
from kvschema.catalog.rooms import ShortRoomId, ShortUserId, StreamPos

__all__ = [
    "GLOBAL_ROOM",
    "cache_key",
    "count_types",
    "get_content",
    "scan_in_room",
    "scan_since",
    "stage_content",
]


def cache_key(user: ShortUserId, room: ShortRoomId, type: str) -> tuple[str, ShortUserId, ShortRoomId, str]:
    """Under which a value made of one type of account data may be cached: it is dropped when that type changes."""
    return ("accountdata", user, room, type)


def get_content(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId, type: str) -> str | None:
    """The content as JSON text. ``room`` is ``GLOBAL_ROOM`` for data of no room."""
    pos = account_data.USERROOMTYPE_POS.get(snapshot, UserRoomType(user, room, digest(type)))
    if pos is None:
        return None
    row = account_data.USERPOS_ACCOUNTDATA.get(snapshot, UserPos(user, StreamPos(pos)))
    assert row is not None, "the index of account data leads nowhere"
    return row.content


def count_types(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> int:
    """How many types of account data the user has in one room."""
    return sum(1 for _ in account_data.USERROOMTYPE_POS.scan_keys(snapshot, user, room))


def scan_in_room(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> Iterator[AccountData]:
    """Everything the user has in one room, or in none with ``GLOBAL_ROOM``."""
    for _, pos in account_data.USERROOMTYPE_POS.scan(snapshot, user, room):
        row = account_data.USERPOS_ACCOUNTDATA.get(snapshot, UserPos(user, StreamPos(pos)))
        assert row is not None, "the index of account data leads nowhere"
        yield row


def scan_since(snapshot: Snapshot, user: ShortUserId, since: int) -> Iterator[tuple[StreamPos, AccountData]]:
    """What changed after the position ``since``, of all rooms and of none, each type once."""
    for key, row in account_data.USERPOS_ACCOUNTDATA.scan(snapshot, user, after=UserPos(user, StreamPos(since))):
        yield key.pos, row


def stage_all_removed(snapshot: Snapshot, turn: Turn, user: ShortUserId) -> None:
    """Forget everything the user ever kept, in every room and in none."""
    for key, row in account_data.USERPOS_ACCOUNTDATA.scan(snapshot, user):
        turn.changes(cache_key(user, row.room, row.type))
        turn.batch.delete(account_data.USERPOS_ACCOUNTDATA, key)
        turn.batch.delete(account_data.USERROOMTYPE_POS, UserRoomType(user, row.room, digest(row.type)))
        if row.room == GLOBAL_ROOM and row.type in REASON_OF:
            stage_apart(snapshot, turn, user, row.type, None)


def stage_content(
    snapshot: Snapshot, turn: Turn, user: ShortUserId, room: ShortRoomId, type: str, content: str
) -> StreamPos:
    """Replace one type of account data by the JSON text ``content``, at a new position.

    The batch is refused (``PreconditionFailed``) if the same type was changed since ``snapshot``.
    """
    index = UserRoomType(user, room, digest(type))
    old = account_data.USERROOMTYPE_POS.get(snapshot, index)
    if old is None:
        turn.batch.require_absent(account_data.USERROOMTYPE_POS, index)
    else:
        turn.batch.require(account_data.USERROOMTYPE_POS, index, old)
        turn.batch.delete(account_data.USERPOS_ACCOUNTDATA, UserPos(user, StreamPos(old)))
    pos = StreamPos(turn.take_pos())
    turn.changes(cache_key(user, room, type))
    if room == GLOBAL_ROOM and type in REASON_OF:
        stage_apart(snapshot, turn, user, type, content)
    turn.batch.put(account_data.USERPOS_ACCOUNTDATA, UserPos(user, pos), AccountData(room, type, content))
    turn.batch.put(account_data.USERROOMTYPE_POS, index, pos)
    return pos
