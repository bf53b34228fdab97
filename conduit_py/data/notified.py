"""What notified whom, whether it has been read or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import receipts
from kvschema.catalog.receipts import Notified, UserPlace, UserRoomPos
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

_POS_MAX = (1 << 64) - 1


def stage_notified(turn: Turn, key: UserRoomPos, *, is_highlight: bool, actions: Iterable[Any]) -> None:
    """An event that notifies a user, and why."""
    row = Notified(key.room, is_highlight, list(actions))
    turn.batch.put(receipts.USERPOS_NOTIFIED, UserPlace(key.user, key.pos), row)


def stage_notified_removed(turn: Turn, user: ShortUserId, pos: int) -> None:
    turn.batch.delete(receipts.USERPOS_NOTIFIED, UserPlace(user, pos))


def scan_notified(
    snapshot: Snapshot, user: ShortUserId, *, before: int | None = None
) -> Iterator[tuple[int, Notified]]:
    """(place, row), the newest first, below ``before``."""
    start = None if before is None else UserPlace(user, before)
    for key, row in receipts.USERPOS_NOTIFIED.scan(snapshot, user, after=start, reverse=True):
        yield key.pos, row


def scan_notified_keys(snapshot: Snapshot, user: ShortUserId) -> Iterator[UserPlace]:
    """The newest first."""
    return receipts.USERPOS_NOTIFIED.scan_keys(snapshot, user, reverse=True)


def get_next_user(snapshot: Snapshot, after: ShortUserId | None) -> ShortUserId | None:
    """The next user, in the order of the tree, who was ever notified; None behind the last."""
    start = None if after is None else UserPlace(after, _POS_MAX)
    key = next(receipts.USERPOS_NOTIFIED.scan_keys(snapshot, after=start), None)
    return None if key is None else key.user


def is_unread(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId, pos: int) -> bool:
    """Has the user not read what notified them?"""
    return receipts.USERROOMPOS_UNREAD.has(snapshot, UserRoomPos(user, room, pos))
