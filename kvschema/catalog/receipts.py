"""Read receipts, private ones too, and what notified whom."""

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


class Notified(NamedTuple):
    """Whom an event notified, or who has read the room by sending it."""

    thread: ShortEventId
    """Root of its thread, 0 for the main timeline."""
    sender: ShortUserId
    """The local user who sent it and so has read what was there before; 0 for none."""
    groups: list[list[Any]]
    """Who was notified alike, in three: is it a highlight, the actions of the push rule, and the short ids of the local
    users in rising order as bytes, 8 each."""


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
ROOMPOS_NOTIFIED: Tree[RoomPos, Notified] = Tree(
    "roompos_notified",
    Key(RoomPos, (U64(), U64())),
    record(Notified),
    since=1,
    doc="Which events of a room notified whom. Conduit's userroomid_notificationcount and _highlightcount.",
    bound="the oldest of a room are swept beyond NOTIFIED_PER_ROOM_MAX, hourly",
)

TREES = (READRECEIPT, ROOMUSERTHREAD_RECEIPT, ROOMPOS_NOTIFIED)
