"""Read receipts: in stream order for /sync, and the newest of each user, type and thread.

Spec: client-server-api/#receipts
"""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.digest import digest
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import receipts
from kvschema.catalog.receipts import Receipt, RoomPos, RoomUserThread, Unread, UserRoomPos
from kvschema.catalog.rooms import ShortRoomId, ShortUserId, StreamPos

READ = "m.read"
READ_PRIVATE = "m.read.private"
_POS_MAX = (1 << 64) - 1


def get_receipt(
    snapshot: Snapshot, room: ShortRoomId, user: ShortUserId, type: str, thread_id: str
) -> tuple[StreamPos, Receipt] | None:
    """The user's newest receipt of a type and thread (empty: unthreaded), and where it stands in the stream."""
    pos = receipts.ROOMUSERTHREAD_RECEIPT.get(snapshot, _index(room, user, type, thread_id))
    if pos is None:
        return None
    row = receipts.READRECEIPT.get(snapshot, RoomPos(room, StreamPos(pos)))
    assert row is not None, "the index of receipts leads nowhere"
    return StreamPos(pos), row


def scan_receipts(snapshot: Snapshot, room: ShortRoomId, *, after: int, until: int) -> Iterator[Receipt]:
    """Receipts of a room that were set past ``after``, up to ``until``, in stream order. Private ones too."""
    start, stop = RoomPos(room, StreamPos(after)), RoomPos(room, StreamPos(until))
    for _, row in receipts.READRECEIPT.scan(snapshot, room, after=start, until=stop):
        yield row


def get_last_pos(snapshot: Snapshot, room: ShortRoomId) -> int:
    """Stream position of the newest receipt in a room, 0 for none."""
    return next((key.pos for key in receipts.READRECEIPT.scan_keys(snapshot, room, reverse=True)), 0)


def count_unread(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> dict[Unread, int]:
    """How much notified the user in a room and has not been read, by thread and highlight."""
    return receipts.USERROOMPOS_UNREAD.count_values(snapshot, user, room)


def get_next_unread_room(
    snapshot: Snapshot, after: tuple[ShortUserId, ShortRoomId] | None
) -> tuple[ShortUserId, ShortRoomId] | None:
    """The next user and room, in the order of the tree, with anything unread; None behind the last."""
    start = None if after is None else UserRoomPos(*after, _POS_MAX)
    key = next(receipts.USERROOMPOS_UNREAD.scan_keys(snapshot, after=start), None)
    return None if key is None else (key.user, key.room)


def scan_unread_backwards(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> Iterator[UserRoomPos]:
    """Keys of what is unread, the newest first."""
    return receipts.USERROOMPOS_UNREAD.scan_keys(snapshot, user, room, reverse=True)


def stage_unread_removed(turn: Turn, key: UserRoomPos) -> None:
    turn.batch.delete(receipts.USERROOMPOS_UNREAD, key)


def stage_receipt(
    snapshot: Snapshot, turn: Turn, room: ShortRoomId, user: ShortUserId, receipt: Receipt
) -> StreamPos | None:
    """Move a receipt on. Returns its stream position, None if it would not move forward.

    The caller holds the user's receipts.
    """
    old = get_receipt(snapshot, room, user, receipt.type, receipt.thread_id)
    if old is not None:
        old_pos, old_receipt = old
        if old_receipt.read_pos >= receipt.read_pos:
            return None
        turn.batch.delete(receipts.READRECEIPT, RoomPos(room, old_pos))
    pos = StreamPos(turn.take_pos())
    turn.batch.put(receipts.READRECEIPT, RoomPos(room, pos), receipt)
    turn.batch.put(receipts.ROOMUSERTHREAD_RECEIPT, _index(room, user, receipt.type, receipt.thread_id), pos)
    return pos


def _index(room: ShortRoomId, user: ShortUserId, type: str, thread_id: str) -> RoomUserThread:
    return RoomUserThread(room, user, digest(type, thread_id))
