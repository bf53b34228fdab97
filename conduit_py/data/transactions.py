"""Transaction ids: what was answered to a device's request, so that a retry does its work once."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.digest import digest
from conduit_py.matrix.ids import EventId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import transactions
from kvschema.catalog.rooms import ShortEventId, ShortUserId
from kvschema.catalog.timeline import ByShortEvent
from kvschema.catalog.transactions import EventTransaction, Transaction, TransactionAge, TransactionKey

KEPT_MS = 14 * 24 * 3600 * 1000
"""How long a retry is recognised."""


def get_answer(snapshot: Snapshot, user: ShortUserId, device_id: str, endpoint: str, txn_id: str) -> Transaction | None:
    """What this device was answered before; ids are scoped to an ``endpoint``, an operation and its path."""
    key = TransactionKey(user, digest(device_id, endpoint, txn_id))
    return transactions.USERDEVICETXNID_RESPONSE.get(snapshot, key)


def stage_answer(
    turn: Turn,
    user: ShortUserId,
    device_id: str,
    endpoint: str,
    txn_id: str,
    *,
    now_ms: int,
    event_id: EventId | None = None,
    event: ShortEventId | None = None,
) -> None:
    """Remember an answer: the event that was sent, or that the operation was done."""
    key = TransactionKey(user, digest(device_id, endpoint, txn_id))
    answer = Transaction(event_id or "", now_ms, event or ShortEventId(0))
    turn.batch.put(transactions.USERDEVICETXNID_RESPONSE, key, answer)
    turn.batch.put(transactions.TXNAGE, TransactionAge(now_ms, user, key.digest), None)
    if event is not None:
        row = EventTransaction(user, device_id, txn_id)
        turn.batch.put(transactions.SHORTEVENTID_TRANSACTION, ByShortEvent(event), row)


def get_of_event(snapshot: Snapshot, event: ShortEventId) -> EventTransaction | None:
    """Which device sent an event, and under which transaction id."""
    return transactions.SHORTEVENTID_TRANSACTION.get(snapshot, ByShortEvent(event))


def scan_expired(snapshot: Snapshot, *, before_ms: int) -> Iterator[TransactionAge]:
    """Answers given before a moment, the oldest first."""
    for key in transactions.TXNAGE.scan_keys(snapshot):
        if key.done_ms >= before_ms:
            return
        yield key


def stage_expired(snapshot: Snapshot, turn: Turn, age: TransactionAge) -> None:
    """Forget one answer."""
    key = TransactionKey(age.user, age.digest)
    answer = transactions.USERDEVICETXNID_RESPONSE.get(snapshot, key)
    if answer is not None and answer.event:
        turn.batch.delete(transactions.SHORTEVENTID_TRANSACTION, ByShortEvent(answer.event))
    turn.batch.delete(transactions.USERDEVICETXNID_RESPONSE, key)
    turn.batch.delete(transactions.TXNAGE, age)
