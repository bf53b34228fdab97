"""Receipts and what is unread: ``kvschema.catalog.receipts``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.consistency.derived import compare_tree
from conduit_py.data.digest import digest
from conduit_py.data.members import is_joined
from conduit_py.data.short_ids import get_user
from conduit_py.data.timeline import get_row
from conduit_py.matrix.ids import UserId
from conduit_py.storage.database import Snapshot
from kvschema.catalog import receipts, rooms, timeline
from kvschema.catalog.receipts import RoomPos, RoomUserThread
from kvschema.catalog.rooms import ByRoom, ByShort, StreamPos
from kvschema.catalog.timeline import PduId


def check_receipts(snapshot: Snapshot) -> Iterator[str]:
    """Receipts are of users with a short id, in rooms that there are."""
    for key, row in receipts.READRECEIPT.scan(snapshot):
        if not rooms.SHORTROOMID_ROOM.has(snapshot, ByRoom(key.room)):
            yield f"readreceiptid_readreceipt: {key} is of a room that there is not"
        if get_user(snapshot, UserId(row.user_id)) is None:
            yield f"readreceiptid_readreceipt: {key} is of {row.user_id}, who has no short id"


def check_newest_receipts(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: RoomUserThread, pos: int) -> bool:
        row = receipts.READRECEIPT.get(snapshot, RoomPos(key.room, StreamPos(pos)))
        return (
            row is not None
            and get_user(snapshot, UserId(row.user_id)) == key.user
            and digest(row.type, row.thread_id) == key.digest
        )

    return compare_tree(
        snapshot,
        receipts.ROOMUSERTHREAD_RECEIPT,
        (
            (RoomUserThread(key.room, user, digest(row.type, row.thread_id)), int(key.pos))
            for key, row in receipts.READRECEIPT.scan(snapshot)
            if (user := get_user(snapshot, UserId(row.user_id))) is not None
        ),
        follows,
    )


def check_unread(snapshot: Snapshot) -> Iterator[str]:
    """What is unread is in the timeline, its thread is stored, and the user is in the room."""
    for key, row in receipts.USERROOMPOS_UNREAD.scan(snapshot):
        if not timeline.PDUID_SHORTEVENTID.has(snapshot, PduId(key.room, key.pos)):
            yield f"userroomid_notification: {key} is not in the room's timeline"
        if row.thread and get_row(snapshot, row.thread) is None:
            yield f"userroomid_notification: {key} is in the thread {row.thread}, which is not stored"
        if not is_joined(snapshot, key.user, key.room):
            yield f"userroomid_notification: {key} is of a user that is not in the room"


def check_notified(snapshot: Snapshot) -> Iterator[str]:
    """What notified a user is in a timeline, and the user has a short id."""
    for key, row in receipts.USERPOS_NOTIFIED.scan(snapshot):
        if not timeline.PDUID_SHORTEVENTID.has(snapshot, PduId(row.room, key.pos)):
            yield f"userpos_notified: {key} is not in the timeline of room {row.room}"
        if not rooms.SHORTUSERID_USERID.has(snapshot, ByShort(key.user)):
            yield f"userpos_notified: {key} is of a user that there is not"
