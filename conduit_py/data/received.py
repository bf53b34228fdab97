"""What was answered to other servers' transactions, so that one that is sent again is not done again."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.digest import digest
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import transactions
from kvschema.catalog.transactions import RECEIVED_PER_SERVER_MAX, Received, ServerTransaction

KEPT_MS = 24 * 3600 * 1000


def get_answer(snapshot: Snapshot, origin: str, txn_id: str) -> bytes | None:
    """The results that were answered, as JSON."""
    row = transactions.SERVERTXNID_RESPONSE.get(snapshot, ServerTransaction(digest(origin), digest(txn_id)))
    return None if row is None else row.results


def stage_answer(snapshot: Snapshot, turn: Turn, origin: str, txn_id: str, *, results: bytes, now_ms: int) -> None:
    """Remember an answer, and forget the server's oldest beyond ``RECEIVED_PER_SERVER_MAX``."""
    key = ServerTransaction(digest(origin), digest(txn_id))
    known = sorted(
        (row.done_ms, other)
        for other, row in transactions.SERVERTXNID_RESPONSE.scan(snapshot, key.server)
        if other != key
    )
    for _, other in known[: max(len(known) - RECEIVED_PER_SERVER_MAX + 1, 0)]:
        turn.batch.delete(transactions.SERVERTXNID_RESPONSE, other)
    turn.batch.put(transactions.SERVERTXNID_RESPONSE, key, Received(now_ms, results))


def scan_answers(snapshot: Snapshot, after: ServerTransaction | None) -> Iterator[tuple[ServerTransaction, Received]]:
    """All answers past one."""
    return transactions.SERVERTXNID_RESPONSE.scan(snapshot, after=after)


def stage_removed(turn: Turn, key: ServerTransaction) -> None:
    turn.batch.delete(transactions.SERVERTXNID_RESPONSE, key)
