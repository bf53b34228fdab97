"""Which messages to devices have come from other servers."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.digest import digest
from conduit_py.matrix.ids import UserId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import e2ee
from kvschema.catalog.e2ee import ReceivedAge, ReceivedMessage

KEPT_MS = 7 * 24 * 3600 * 1000
"""How long a repetition is recognised. A server repeats a transaction until it is answered, sooner or later."""


def is_received(snapshot: Snapshot, sender: UserId, message_id: str) -> bool:
    return e2ee.RECEIVED_MESSAGES.has(snapshot, ReceivedMessage(digest(sender, message_id)))


def stage_received(turn: Turn, sender: UserId, message_id: str, *, now_ms: int) -> None:
    key = ReceivedMessage(digest(sender, message_id))
    turn.batch.put(e2ee.RECEIVED_MESSAGES, key, now_ms)
    turn.batch.put(e2ee.RECEIVED_AGES, ReceivedAge(now_ms, key.digest), None)


def scan_expired(snapshot: Snapshot, *, now_ms: int) -> Iterator[ReceivedAge]:
    """What need not be remembered any longer, the oldest first."""
    surplus = snapshot.count(e2ee.RECEIVED_AGES.name) - e2ee.RECEIVED_MESSAGES_MAX
    for number, age in enumerate(e2ee.RECEIVED_AGES.scan_keys(snapshot)):
        if number >= surplus and age.received_ms >= now_ms - KEPT_MS:
            return
        yield age


def stage_expired(turn: Turn, age: ReceivedAge) -> None:
    turn.batch.delete(e2ee.RECEIVED_MESSAGES, ReceivedMessage(age.digest))
    turn.batch.delete(e2ee.RECEIVED_AGES, age)
