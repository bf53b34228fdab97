"""Transaction ids, so that a retried request does its work once."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId, StreamPos
from kvschema.catalog.timeline import ByShortEvent
from kvschema.codec import NOTHING, U64, Fixed, Key, record
from kvschema.tree import Tree


class TransactionKey(NamedTuple):
    user: ShortUserId
    digest: bytes
    """BLAKE2b-16 of device id, endpoint and transaction id: all three are the client's choice."""


class TransactionAge(NamedTuple):
    done_ms: int
    user: ShortUserId
    digest: bytes


class Transaction(NamedTuple):
    event_id: str
    """What was answered; empty for operations that answer ``{}``."""
    done_ms: int
    event: ShortEventId = ShortEventId(0)
    """Short id of the event, 0 where there is none."""


class EventTransaction(NamedTuple):
    """Which device sent an event under which transaction id: that device alone is shown it."""

    user: ShortUserId
    device_id: str
    txn_id: str


USERDEVICETXNID_RESPONSE: Tree[TransactionKey, Transaction] = Tree(
    "userdevicetxnid_response",
    Key(TransactionKey, (U64(), Fixed(16))),
    record(Transaction),
    since=1,
    doc="What was answered to a transaction of a device.",
    bound="swept two weeks after it was answered",
)
TXNAGE: Tree[TransactionAge, None] = Tree(
    "txnage_userdevicetxnid",
    Key(TransactionAge, (U64(), U64(), Fixed(16))),
    NOTHING,
    since=1,
    doc="Transactions by age, for the sweep.",
    bound="as userdevicetxnid_response",
    derived="userdevicetxnid_response",
    append=True,
)
SHORTEVENTID_TRANSACTION: Tree[ByShortEvent, EventTransaction] = Tree(
    "shorteventid_transaction",
    Key(ByShortEvent, (U64(),)),
    record(EventTransaction),
    since=1,
    doc="The transaction id that an event was sent with.",
    bound="swept with its userdevicetxnid_response",
    append=True,
)
RECEIVED_PER_SERVER_MAX = 100


class ServerTransaction(NamedTuple):
    """Both are the other server's choice: BLAKE2b-16 of each."""

    server: bytes
    txn_id: bytes


class Received(NamedTuple):
    done_ms: int
    results: bytes
    """What was answered, as JSON."""


SERVERTXNID_RESPONSE: Tree[ServerTransaction, Received] = Tree(
    "servertxnid_response",
    Key(ServerTransaction, (Fixed(16), Fixed(16))),
    record(Received),
    since=1,
    doc="What was answered to a transaction of another server.",
    bound="RECEIVED_PER_SERVER_MAX per server, swept after a day",
)

WAITING_PER_ROOM_MAX = 1000


class RoomPos(NamedTuple):
    room: ShortRoomId
    pos: StreamPos


class WaitingPdu(NamedTuple):
    origin: str
    json: bytes


WAITINGPDU: Tree[RoomPos, WaitingPdu] = Tree(
    "roompos_waitingpdu",
    Key(RoomPos, (U64(), U64())),
    record(WaitingPdu),
    since=1,
    doc="Events of other servers that were taken and not received yet, because their room is slow.",
    bound="WAITING_PER_ROOM_MAX per room; each goes when it was received",
)

TREES = (USERDEVICETXNID_RESPONSE, TXNAGE, SHORTEVENTID_TRANSACTION, SERVERTXNID_RESPONSE, WAITINGPDU)
