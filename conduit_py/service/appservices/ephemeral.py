"""What passes by that application services want to be told of: typing, receipts, presence.

It goes with their transactions, and waits for those in memory. Of one thing only the latest waits, and a restart
forgets what waited: typing and presence are stale by then, and whoever reads on says so again.

Spec: application-service-api/#pushing-ephemeral-data
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator
from functools import partial
from typing import Any, Final

import orjson

from conduit_py.data import short_ids
from conduit_py.data.receipts import READ_PRIVATE
from conduit_py.matrix.appservices import Registration
from conduit_py.matrix.edus import RECEIPT, TYPING
from conduit_py.matrix.ids import UserId
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.appservices.queue import AppServiceQueue
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.receipts import Receipt
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

EPHEMERAL_WAITING_MAX: Final = 1000
"""For one application service, a few hundred bytes each. Beyond it the oldest is given up."""
EPHEMERAL_SENT_MAX: Final = 100
"""In one transaction."""


class AppServiceEphemeral:
    """One per server."""

    def __init__(self, appservices: AppServices, queue: AppServiceQueue) -> None:
        self._appservices = appservices
        self._queue = queue
        self._waiting: dict[str, dict[Hashable, bytes]] = {}
        """By application service and by what it is about, the oldest first."""
        self._sent: dict[str, tuple[str, list[bytes]]] = {}
        """By application service, the transaction on its way and what goes with it."""

    def forget(self, appservice_id: str) -> None:
        """There is no such application service any more, or another one of that id."""
        self._waiting.pop(appservice_id, None)
        self._sent.pop(appservice_id, None)

    # What happens.

    def note_typing(
        self, snapshot: Snapshot, room: ShortRoomId, user_ids: Collection[UserId], joined: Collection[ShortUserId]
    ) -> None:
        """Who is typing in a room now. ``joined`` are the users of this server in it."""
        for appservice in self._wanting():
            room_id = short_ids.get_room_record(snapshot, room).room_id
            if self._queue.interest.is_in_room(snapshot, appservice, room, room_id, joined):
                event = {"type": TYPING, "room_id": room_id, "content": {"user_ids": list(user_ids)}}
                self._add(appservice, (TYPING, room), event)

    def stage_receipt(
        self, snapshot: Snapshot, turn: Turn, room: ShortRoomId, receipt: Receipt, joined: Collection[ShortUserId]
    ) -> None:
        """A receipt is staged in this turn: it is told of when it has landed. A private one to its own side only."""
        for appservice in self._wanting():
            room_id = short_ids.get_room_record(snapshot, room).room_id
            if receipt.type == READ_PRIVATE:
                is_told = self._appservices.has_user(appservice, UserId(receipt.user_id))
            else:
                is_told = self._queue.interest.is_in_room(snapshot, appservice, room, room_id, joined)
            if is_told:
                about = (RECEIPT, room, receipt.user_id, receipt.type, receipt.thread_id)
                turn.on_landed(partial(self._add, appservice, about, _receipt_event(room_id, receipt)))

    def note_presence(
        self,
        snapshot: Snapshot,
        user_id: UserId,
        sharing: Collection[ShortUserId],
        build_event: Callable[[], dict[str, Any]],
    ) -> None:
        """Somebody's presence is another. ``sharing`` are the users of this server with a room in common."""
        for appservice in self._wanting():
            is_theirs = self._appservices.has_user(appservice, user_id)
            if is_theirs or self._queue.interest.has_any(snapshot, appservice, sharing):
                self._add(appservice, user_id, build_event())

    def _wanting(self) -> Iterator[Registration]:
        return (it for it in self._appservices if it.receive_ephemeral and it.url is not None)

    def _add(self, appservice: Registration, about: Hashable, event: dict[str, Any]) -> None:
        waiting = self._waiting.setdefault(appservice.id, {})
        waiting.pop(about, None)
        waiting[about] = orjson.dumps(event)
        if len(waiting) > EPHEMERAL_WAITING_MAX:
            del waiting[next(iter(waiting))]
        self._queue.wake(appservice.id)

    # What is sent.

    def has_waiting(self, appservice_id: str) -> bool:
        return bool(self._waiting.get(appservice_id))

    def take(self, appservice_id: str, txn_id: str) -> None:
        """Let the oldest of what waits go with a new transaction."""
        waiting = self._waiting.get(appservice_id, {})
        taken = list(waiting)[:EPHEMERAL_SENT_MAX]
        self._sent[appservice_id] = (txn_id, [waiting.pop(about) for about in taken])

    def get_sent(self, appservice_id: str, txn_id: str) -> list[bytes]:
        """What goes with a transaction, which never changes: none with one of before a restart."""
        sent = self._sent.get(appservice_id)
        return sent[1] if sent is not None and sent[0] == txn_id else []


def _receipt_event(room_id: str, receipt: Receipt) -> dict[str, Any]:
    data: dict[str, Any] = {"ts": receipt.ts_ms}
    if receipt.thread_id:
        data["thread_id"] = receipt.thread_id
    content = {receipt.event_id: {receipt.type: {receipt.user_id: data}}}
    return {"type": RECEIPT, "room_id": room_id, "content": content}
