"""What other servers sent: what was answered, so that nothing is done twice, and events that wait to be received."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from conduit_py.data.digest import digest
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import transactions
from kvschema.catalog.rooms import ShortRoomId, StreamPos
from kvschema.catalog.transactions import (
    RECEIVED_PER_SERVER_MAX,
    WAITING_PER_ROOM_MAX,
    Received,
    RoomPos,
    ServerTransaction,
    WaitingPdu,
)

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


def stage_waiting(
    snapshot: Snapshot, turn: Turn, room: ShortRoomId, origin: str, pdus: Sequence[bytes]
) -> list[RoomPos]:
    """Keep events, as JSON, to receive them later. None is kept if too many of the room wait already."""
    waiting = sum(1 for _ in transactions.WAITINGPDU.scan_keys(snapshot, room))
    if waiting + len(pdus) > WAITING_PER_ROOM_MAX:
        return []
    keys = [RoomPos(room, StreamPos(turn.take_pos())) for _ in pdus]
    for key, json in zip(keys, pdus, strict=True):
        turn.batch.put(transactions.WAITINGPDU, key, WaitingPdu(origin, json))
    return keys


def scan_waiting(snapshot: Snapshot, room: ShortRoomId) -> Iterator[tuple[RoomPos, WaitingPdu]]:
    """Events of a room that wait, the first to come first."""
    return transactions.WAITINGPDU.scan(snapshot, room)


def scan_waiting_rooms(snapshot: Snapshot) -> Iterator[ShortRoomId]:
    """Rooms of which events wait."""
    last: ShortRoomId | None = None
    for key in transactions.WAITINGPDU.scan_keys(snapshot):
        if key.room != last:
            last = key.room
            yield key.room


def stage_not_waiting(turn: Turn, keys: Iterable[RoomPos]) -> None:
    """These were received."""
    for key in keys:
        turn.batch.delete(transactions.WAITINGPDU, key)
