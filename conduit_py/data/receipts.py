"""Read receipts: in stream order for /sync, and the newest of each user, type and thread.

Spec: client-server-api/#receipts
"""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.digest import digest
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import receipts
from kvschema.catalog.receipts import Receipt, RoomPos, RoomUserThread
from kvschema.catalog.rooms import ShortRoomId, ShortUserId, StreamPos

READ = "m.read"
READ_PRIVATE = "m.read.private"
MAIN = "main"
"""The thread id of what is in no thread."""


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
    # Mostly there are none, and everybody in the room asks right after an event.
    if after >= get_last_pos(snapshot, room):
        return
    start, stop = RoomPos(room, StreamPos(after)), RoomPos(room, StreamPos(until))
    for _, row in receipts.READRECEIPT.scan(snapshot, room, after=start, until=stop):
        yield row


def get_last_pos(snapshot: Snapshot, room: ShortRoomId) -> int:
    """Stream position of the newest receipt in a room, 0 for none."""
    return snapshot.once(("lastreceipt", room), lambda: _read_last_pos(snapshot, room))


def _read_last_pos(snapshot: Snapshot, room: ShortRoomId) -> int:
    return next((key.pos for key in receipts.READRECEIPT.scan_keys(snapshot, room, reverse=True)), 0)


def scan_receipts_of(snapshot: Snapshot, room: ShortRoomId, user: ShortUserId) -> Iterator[Receipt]:
    """A user's newest receipts in a room, of every type and thread."""
    for _, pos in receipts.ROOMUSERTHREAD_RECEIPT.scan(snapshot, room, user):
        row = receipts.READRECEIPT.get(snapshot, RoomPos(room, StreamPos(pos)))
        assert row is not None, "the index of receipts leads nowhere"
        yield row


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
