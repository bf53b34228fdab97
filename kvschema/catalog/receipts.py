"""Read receipts, private ones too, and what is still unread."""

from __future__ import annotations

from typing import Any, NamedTuple

from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId, StreamPos
from kvschema.codec import COUNT, U64, Fixed, Key, record
from kvschema.tree import Tree


class RoomPos(NamedTuple):
    room: ShortRoomId
    pos: StreamPos


class Receipt(NamedTuple):
    user_id: str
    type: str
    """m.read or m.read.private."""
    thread_id: str
    """Event id of the thread's root, ``main``, or empty for an unthreaded receipt."""
    event_id: str
    ts_ms: int
    read_pos: int
    """Timeline place of the event."""


class RoomUserThread(NamedTuple):
    room: ShortRoomId
    user: ShortUserId
    digest: bytes
    """BLAKE2b-16 of receipt type and thread id."""


class UserRoomPos(NamedTuple):
    user: ShortUserId
    room: ShortRoomId
    pos: int


class Unread(NamedTuple):
    """An event that notified the user and has not been read."""

    thread: ShortEventId
    """Root of its thread, 0 for the main timeline."""
    is_highlight: bool


class UserPlace(NamedTuple):
    user: ShortUserId
    pos: int


class Notified(NamedTuple):
    """An event that notified the user, read or not."""

    room: ShortRoomId
    is_highlight: bool
    actions: list[Any]
    """Of the push rule that matched."""


READRECEIPT: Tree[RoomPos, Receipt] = Tree(
    "readreceiptid_readreceipt",
    Key(RoomPos, (U64(), U64())),
    record(Receipt),
    since=1,
    doc="Receipts of a room in stream order.",
    bound="one row per user, room, receipt type and thread: a newer one deletes the older row",
)
ROOMUSERTHREAD_RECEIPT: Tree[RoomUserThread, int] = Tree(
    "roomuserid_lastreceipt",
    Key(RoomUserThread, (U64(), U64(), Fixed(16))),
    COUNT,
    since=1,
    doc="Where a user's newest receipt of a type and thread stands in the stream.",
    bound="as readreceiptid_readreceipt",
    derived="readreceiptid_readreceipt",
)
USERROOMPOS_UNREAD: Tree[UserRoomPos, Unread] = Tree(
    "userroomid_notification",
    Key(UserRoomPos, (U64(), U64(), U64())),
    record(Unread),
    since=1,
    doc="Unread notifying events of a local user. Conduit's userroomid_notificationcount and _highlightcount.",
    bound="deleted when read or left; the oldest are swept beyond UNREAD_PER_ROOM_MAX",
)

USERPOS_NOTIFIED: Tree[UserPlace, Notified] = Tree(
    "userpos_notified",
    Key(UserPlace, (U64(), U64())),
    record(Notified),
    since=1,
    doc="Events that notified a local user, in stream order, for the list of notifications.",
    bound="the oldest of a user are swept beyond NOTIFIED_PER_USER_MAX, hourly",
)

TREES = (READRECEIPT, ROOMUSERTHREAD_RECEIPT, USERROOMPOS_UNREAD, USERPOS_NOTIFIED)
