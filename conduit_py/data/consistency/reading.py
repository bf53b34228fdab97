"""Receipts and what is unread: ``kvschema.catalog.receipts``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.consistency.derived import compare_tree
from conduit_py.data.digest import digest
from conduit_py.data.notified import scan_users, unpack_users
from conduit_py.data.short_ids import get_user
from conduit_py.data.timeline import get_row
from conduit_py.matrix.ids import UserId
from conduit_py.storage.database import Snapshot
from kvschema.catalog import members, receipts, rooms, timeline
from kvschema.catalog.members import INVITE, UserRoom
from kvschema.catalog.receipts import RoomPos, RoomUserThread
from kvschema.catalog.rooms import ByRoom, ByShort, ShortUserId, StreamPos
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


def check_notified(snapshot: Snapshot) -> Iterator[str]:
    """What notified anybody is in the room's timeline, its thread is stored, and everybody has a short id."""
    for key, row in receipts.ROOMPOS_NOTIFIED.scan(snapshot):
        in_timeline = timeline.PDUID_SHORTEVENTID.has(snapshot, PduId(key.room, key.pos))
        if not (in_timeline or [user for user in scan_users(row) if _is_invited_at(snapshot, user, key)]):
            yield f"roompos_notified: {key} is not in the room's timeline"
        if row.thread and get_row(snapshot, row.thread) is None:
            yield f"roompos_notified: {key} is in the thread {row.thread}, which is not stored"
        named = [*scan_users(row), *((row.sender,) if row.sender else ())]
        if len(named) != len(set(named)):
            yield f"roompos_notified: {key} names somebody twice"
        for user in named:
            if not rooms.SHORTUSERID_USERID.has(snapshot, ByShort(user)):
                yield f"roompos_notified: {key} names the user {user}, who is not there"
        if any(list(users) != sorted(users) for users in (unpack_users(group[2]) for group in row.groups)):
            yield f"roompos_notified: {key} names users out of order"


def _is_invited_at(snapshot: Snapshot, user: ShortUserId, key: RoomPos) -> bool:
    """Is the place that of an invite to a room that we are not in?"""
    row = members.USERROOMID_MEMBERSHIP.get(snapshot, UserRoom(user, INVITE, key.room))
    return row is not None and not row.event and row.pos == key.pos
