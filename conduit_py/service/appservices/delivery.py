"""Sending transactions to application services: one after the other, each until it is acknowledged.

A transaction is opened by a row that names it and says how far into the queue it reaches. It is sent as often as it
takes, with pauses that grow, also by the next process; its acknowledgment removes the rows and the events in one batch.

Spec: application-service-api/#pushing-events
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import orjson
import trio

from conduit_py.data import appservices as data
from conduit_py.data import row_fields, short_ids, timeline
from conduit_py.log import get_logger
from conduit_py.matrix.appservices import Registration
from conduit_py.matrix.ids import RoomId
from conduit_py.outbound.appservice import AppServicePost
from conduit_py.outbound.errors import RemoteError
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.appservices.ephemeral import AppServiceEphemeral
from conduit_py.service.appservices.queue import AppServiceQueue
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.appservices import AppServiceSending
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import EventRow
from kvschema.errors import StorageFull

_log = get_logger(__name__)

EVENTS_MAX: Final = 100
"""In one transaction."""
FIRST_RETRY_MS: Final = 1_000
LONGEST_RETRY_MS: Final = 300_000
DOUBLINGS_MAX: Final = 9
FULL_DISK_PAUSE_S: Final = 60.0


class Delivery:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(
        self,
        store: Store,
        appservices: AppServices,
        queue: AppServiceQueue,
        ephemeral: AppServiceEphemeral,
        post: AppServicePost,
    ) -> None:
        self._store = store
        self._appservices = appservices
        self._queue = queue
        self._ephemeral = ephemeral
        self._post = post

    async def run(self) -> None:
        """A task for each application service that wants to hear of anything, as they come and go."""
        running: dict[Registration, trio.CancelScope] = {}
        async with trio.open_nursery() as nursery:
            while True:
                has_changed = self._appservices.listen()
                wanted = {it for it in self._appservices if it.url is not None}
                for appservice in running.keys() - wanted:
                    running.pop(appservice).cancel()
                for appservice in wanted - running.keys():
                    scope = running[appservice] = trio.CancelScope()
                    nursery.start_soon(self._run_one, appservice, scope)
                await has_changed.wait()

    async def _run_one(self, appservice: Registration, scope: trio.CancelScope) -> None:
        with scope:
            await self._deliver(appservice)

    async def _deliver(self, appservice: Registration) -> None:
        while True:
            more = self._queue.listen(appservice.id)
            try:
                has_sent = await self._send_one(appservice)
            except StorageFull:
                await trio.sleep(FULL_DISK_PAUSE_S)
                continue
            if not has_sent:
                await more.wait()

    async def _send_one(self, appservice: Registration) -> bool:
        """One transaction, or one attempt at it. False if nothing waits."""
        sending = await self._open(appservice)
        if sending is None:
            return False
        await trio.sleep(max(0, sending.retry_ms - self._store.now_ms()) / 1000)
        with self._store.snapshot() as snapshot:
            waiting = list(data.scan_events(snapshot, appservice.id, until=sending.until))
            body = _build_body(
                snapshot,
                [event for _, event in waiting],
                self._ephemeral.get_sent(appservice.id, sending.txn_id),
                now_ms=self._store.now_ms(),
            )
        try:
            await self._post.fetch_send_transaction(appservice, sending.txn_id, body)
        except RemoteError as error:
            await self._note_failure(appservice, sending, error)
            return True
        if sending.failures:
            _log.info("an application service can be reached again", appservice=appservice.id)
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            data.stage_events_removed(turn, appservice.id, [pos for pos, _ in waiting])
            data.stage_sending(turn, appservice.id, None)
        self._queue.note_sent(appservice.id, len(waiting))
        return True

    async def _open(self, appservice: Registration) -> AppServiceSending | None:
        """The transaction on its way, or a new one of what waits."""
        with self._store.snapshot() as snapshot:
            sending = data.get_sending(snapshot, appservice.id)
            places = [pos for pos, _ in islice(data.scan_events(snapshot, appservice.id), EVENTS_MAX)]
        if sending is not None or not (places or self._ephemeral.has_waiting(appservice.id)):
            return sending
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            sending = AppServiceSending(str(turn.take_pos()), until=places[-1] if places else 0)
            data.stage_sending(turn, appservice.id, sending)
            self._ephemeral.take(appservice.id, sending.txn_id)
        return sending

    async def _note_failure(self, appservice: Registration, before: AppServiceSending, error: RemoteError) -> None:
        pause_ms = min(FIRST_RETRY_MS << min(before.failures, DOUBLINGS_MAX), LONGEST_RETRY_MS)
        after = before._replace(failures=before.failures + 1, retry_ms=self._store.now_ms() + pause_ms)
        log = _log.warning if after.failures == 1 else _log.debug
        log("an application service cannot be sent to", appservice=appservice.id, error=str(error))
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            data.stage_sending(turn, appservice.id, after)


def _build_body(
    snapshot: Snapshot, events: list[ShortEventId | bytes], ephemeral: list[bytes], *, now_ms: int
) -> bytes:
    rendered = (
        event if isinstance(event, bytes) else _render(snapshot, timeline.require_row(snapshot, event), now_ms)
        for event in events
    )
    more = b',"ephemeral":[' + b",".join(ephemeral) + b"]" if ephemeral else b""
    return b'{"events":[' + b",".join(rendered) + b"]" + more + b"}"


def _render(snapshot: Snapshot, row: EventRow, now_ms: int) -> bytes:
    """An event as clients get it, with what it replaced: an application service sees all of a room."""
    unsigned = [b'"age":%d' % (now_ms - row_fields.get_origin_server_ts(row))]
    if row.replaces:
        replaced = timeline.require_row(snapshot, row.replaces)
        unsigned.append(b'"prev_content":' + row_fields.get_content_json(replaced))
        unsigned.append(b'"replaces_state":' + orjson.dumps(replaced.event_id))
    room_id = RoomId(short_ids.get_room_record(snapshot, row.room).room_id)
    return timeline.client_json(row, b"{" + b",".join(unsigned) + b"}", room_id=room_id)
