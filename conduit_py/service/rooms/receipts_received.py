"""Read receipts of users of other servers.

Spec: server-server-api/#receipts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from conduit_py.data import members, receipts, short_ids, timeline
from conduit_py.matrix.edus import MAIN_THREAD, parse_receipts
from conduit_py.matrix.edus import Receipt as ToldReceipt
from conduit_py.matrix.ids import EventId, ServerName
from conduit_py.service.appservices.ephemeral import AppServiceEphemeral
from conduit_py.service.hub import SyncHub
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.receipts import Receipt
from kvschema.catalog.rooms import ShortRoomId

RECEIPTS_PER_TURN: Final = 100


class ReceiptsReceived:
    """One per server."""

    def __init__(self, store: Store, hub: SyncHub, ephemeral: AppServiceEphemeral) -> None:
        self._store = store
        self._hub = hub
        self._ephemeral = ephemeral

    async def receive(self, origin: ServerName, content: Mapping[str, Any]) -> None:
        """Keep what another server says of its users, as if they were ours.

        Receipts of users that are not in the room, and for events and threads that are not here, are passed over.
        """
        told = iter(parse_receipts(content, origin))
        async with self._store.locks.hold(("receipts", origin)):
            while some := list(islice(told, RECEIPTS_PER_TURN)):
                await self._store_some(some)

    async def _store_some(self, told: Sequence[ToldReceipt]) -> None:
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                changed = {room for receipt in told if (room := self._stage(snapshot, turn, receipt)) is not None}
                for room in changed:
                    self._hub.stage_room(turn, room, members.get_local_joined(snapshot, room))

    def _stage(self, snapshot: Snapshot, turn: Turn, told: ToldReceipt) -> ShortRoomId | None:
        room, user = short_ids.get_room(snapshot, told.room_id), short_ids.get_user(snapshot, told.user_id)
        if room is None or user is None or not members.is_remote_joined(snapshot, user, room):
            return None
        found = timeline.find_row(snapshot, told.event_id)
        if found is None or found[1].room != room or not found[1].pos:
            return None
        if not _is_thread_of(snapshot, room, told.thread_id):
            return None
        receipt = Receipt(
            user_id=told.user_id,
            type=told.type,
            thread_id=told.thread_id or "",
            event_id=told.event_id,
            ts_ms=max(told.ts, 0),
            read_pos=found[1].pos,
        )
        if receipts.stage_receipt(snapshot, turn, room, user, receipt) is None:
            return None
        self._ephemeral.stage_receipt(snapshot, turn, room, receipt, members.get_local_joined(snapshot, room))
        return room


def _is_thread_of(snapshot: Snapshot, room: ShortRoomId, thread_id: str | None) -> bool:
    """Is it no thread in particular, or one that can be here? Of any others a server could make up any number."""
    if thread_id is None or thread_id == MAIN_THREAD:
        return True
    root = timeline.find_row(snapshot, EventId(thread_id))
    return root is not None and root[1].room == room
