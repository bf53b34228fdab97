"""Marking rooms as read: receipts, public and private, by thread, and the fully-read marker.

A receipt never moves back. What it covers counts as read from the moment it is stored: see ``data.notified``.

Spec: client-server-api/#receipts, client-server-api/#fully-read-markers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from conduit_py.data import account_data, members, receipts, timeline
from conduit_py.data.closed import get_closed
from conduit_py.data.digest import digest
from conduit_py.data.receipts import MAIN, READ, READ_PRIVATE
from conduit_py.matrix.edus import Receipt as ToldReceipt
from conduit_py.matrix.edus import build_receipts
from conduit_py.matrix.ids import EventId, RoomId
from conduit_py.matrix.relations import find_thread_root, parse_parent
from conduit_py.service.appservices.ephemeral import AppServiceEphemeral
from conduit_py.service.errors import InvalidParam, NotFound
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.unread import StageRing, ring_nobody
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.service.rooms.write import require_joined
from conduit_py.service.sending.outbox import Outbox
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.receipts import Receipt
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.timeline import EventRow

FULLY_READ = "m.fully_read"
RECEIPT_TYPES = (READ, READ_PRIVATE, FULLY_READ)


@dataclass(frozen=True, slots=True)
class _Staging:
    snapshot: Snapshot
    turn: Turn
    requester: Requester
    room: ShortRoomId
    room_id: RoomId


class ReceiptService:
    """One per server."""

    def __init__(
        self,
        store: Store,
        hub: SyncHub,
        outbox: Outbox,
        ephemeral: AppServiceEphemeral,
        *,
        stage_ring: StageRing = ring_nobody,
    ) -> None:
        self._store = store
        self._hub = hub
        self._outbox = outbox
        self._ephemeral = ephemeral
        self._stage_ring = stage_ring

    async def post_receipt(
        self, requester: Requester, room_id: RoomId, receipt_type: str, event_id: EventId, *, thread_id: Any = None
    ) -> None:
        """``thread_id`` is as it stands in the body.

        Raises ``Forbidden`` unless joined, ``NotFound`` for an event the requester does not see, ``InvalidParam``.
        """
        if receipt_type not in RECEIPT_TYPES:
            raise InvalidParam(f"The receipt type must be one of {', '.join(RECEIPT_TYPES)}")
        if thread_id is not None:
            if not isinstance(thread_id, str) or not thread_id:
                raise InvalidParam("thread_id field must be a non-empty string")
            if receipt_type == FULLY_READ:
                raise InvalidParam(f"{FULLY_READ} cannot be set for a thread")
        await self._mark(requester, room_id, {receipt_type: event_id}, thread_id)

    async def set_read_marker(self, requester: Requester, room_id: RoomId, markers: Mapping[str, EventId]) -> None:
        """Several of ``RECEIPT_TYPES`` at once, unthreaded. Raises as ``post_receipt`` does."""
        await self._mark(requester, room_id, markers, None)

    async def _mark(
        self, requester: Requester, room_id: RoomId, markers: Mapping[str, EventId], thread_id: str | None
    ) -> None:
        async with self._store.locks.hold(("receipt", requester.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                room = require_joined(snapshot, requester, room_id).short
                staging = _Staging(snapshot, turn, requester, room, room_id)
                for receipt_type, event_id in markers.items():
                    event, row = _require_visible(staging, event_id)
                    if receipt_type == FULLY_READ:
                        self._stage_fully_read(staging, row)
                    else:
                        _require_in_thread(snapshot, event, row, thread_id)
                        self._stage_receipt(staging, receipt_type, row, thread_id)

    def _stage_receipt(self, staging: _Staging, type: str, row: EventRow, thread_id: str | None) -> None:
        snapshot, turn, requester, room = staging.snapshot, staging.turn, staging.requester, staging.room
        receipt = Receipt(
            user_id=requester.user_id,
            type=type,
            thread_id=thread_id or "",
            event_id=row.event_id,
            ts_ms=self._store.now_ms(),
            read_pos=row.pos,
        )
        if receipts.stage_receipt(snapshot, turn, room, requester.user, receipt) is None:
            return
        self._stage_ring(turn, room, {requester.user})
        told = {requester.user}
        if type == READ:
            told |= members.get_local_joined(snapshot, room)
            self._tell_servers(staging, receipt)
        self._ephemeral.stage_receipt(snapshot, turn, room, receipt, told)
        self._hub.stage_room(turn, room, told)

    def _tell_servers(self, staging: _Staging, receipt: Receipt) -> None:
        if get_closed(staging.snapshot, staging.room_id) is not None:
            return
        servers = self._outbox.choose_present(members.scan_servers(staging.snapshot, staging.room))
        told = ToldReceipt(
            room_id=staging.room_id,
            user_id=staging.requester.user_id,
            type=receipt.type,
            event_id=EventId(receipt.event_id),
            ts=receipt.ts_ms,
            thread_id=receipt.thread_id or None,
        )
        name = digest("receipt", told.room_id, told.user_id, receipt.thread_id)
        for edu in build_receipts([told]):
            self._outbox.stage_edu(staging.snapshot, staging.turn, servers, edu, replaces=name)

    def _stage_fully_read(self, staging: _Staging, row: EventRow) -> None:
        snapshot, requester, room = staging.snapshot, staging.requester, staging.room
        stored = account_data.get_content(snapshot, requester.user, room, FULLY_READ)
        if stored is not None:
            before = timeline.find_row(snapshot, EventId(orjson.loads(stored)["event_id"]))
            if before is not None and before[1].pos >= row.pos:
                return
        content = orjson.dumps({"event_id": row.event_id}).decode()
        account_data.stage_content(snapshot, staging.turn, requester.user, room, FULLY_READ, content)
        staging.turn.on_landed(lambda: self._hub.publish([requester.user]))


def _require_visible(staging: _Staging, event_id: EventId) -> tuple[ShortEventId, EventRow]:
    found = timeline.find_row(staging.snapshot, event_id)
    if found is None or found[1].room != staging.room:
        raise NotFound(f"There is no event {event_id} in the room")
    if not Visibility(staging.snapshot, staging.requester.user_id).may_see(found[1]):
        raise NotFound(f"There is no event {event_id} in the room")
    return found


def _require_in_thread(snapshot: Snapshot, event: ShortEventId, row: EventRow, thread_id: str | None) -> None:
    """A receipt for a thread, or for the main timeline, must be for an event in it. Raises ``InvalidParam``.

    The root of a thread counts as part of it here too, and so does what relates to the root in other ways.

    Spec: client-server-api/#threaded-read-receipts
    """
    if thread_id is None:
        return
    content = timeline.get_pdu(snapshot, event).content
    root = find_thread_root(content, lambda event_id: _get_content(snapshot, event_id, row.room))
    if thread_id == MAIN:
        if root is not None:
            raise InvalidParam(f"event_id {row.event_id} is not in the main timeline")
        return
    parent = parse_parent(content)
    if thread_id not in (root, row.event_id, None if parent is None else parent[1]):
        raise InvalidParam(f"event_id {row.event_id} is not related to thread {thread_id}")
    found = timeline.find_row(snapshot, EventId(thread_id))
    if found is None or found[1].room != row.room:
        raise InvalidParam(f"thread_id {thread_id} is not an event of the room")


def _get_content(snapshot: Snapshot, event_id: EventId, room: ShortRoomId) -> Mapping[str, Any] | None:
    found = timeline.find_row(snapshot, event_id)
    return None if found is None or found[1].room != room else timeline.get_pdu(snapshot, found[0]).content
