"""What one server sends of one room is received one after the other, and keeps nothing else waiting.

Where that takes long, because of what has to be fetched from that server, the events are written down and count as
taken; whatever else it sends of the room is written down behind them, until all of them have been received. What other
servers send of the room goes on: a slow server holds up nobody but itself. A restart goes on where it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import trio

from conduit_py.data import received, short_ids
from conduit_py.log import get_logger
from conduit_py.matrix.ids import EventId, RoomId, ServerName
from conduit_py.service.errors import LimitExceeded
from conduit_py.service.federation.receive.event_texts import EVENT_BYTES_MAX
from conduit_py.service.federation.receive.room_events import Results
from conduit_py.service.users.store import Store
from conduit_py.storage.locks import KeyedLocks
from kvschema.catalog.rooms import ShortRoomId
from kvschema.catalog.transactions import RoomPos
from kvschema.errors import StorageFull

_log = get_logger(__name__)

PATIENCE_S: Final = 20.0
"""How long a transaction waits for the events of one room. The other server gives up after 30 s or so."""
AT_ONCE: Final = 50
"""Events that waited and are received together."""
RETRY_S: Final = 60.0
"""After a full disk."""

Receive = Callable[[ServerName, RoomId, Sequence[bytes]], Awaitable[Results]]
FindEventIds = Callable[[RoomId, Sequence[bytes]], Awaitable[list[EventId]]]


_Queue = tuple[RoomId, ServerName]
"""The room, and who sends of it."""


@dataclass(eq=False)
class _Job:
    """Events of one room that are being received."""

    origin: ServerName
    texts: Sequence[bytes]
    results: Results = field(default_factory=dict)
    error: StorageFull | None = None
    waiting: Sequence[RoomPos] = ()
    """Where they were written down, if they were."""
    done: trio.Event = field(default_factory=trio.Event)


class RoomQueues:
    """One per server. ``run`` is owned by the nursery tree.

    :param receive: takes events of one room; must not raise but for a full disk.
    :param find_event_ids: the ids of events that are not received yet, as far as they have any.
    """

    def __init__(self, store: Store, receive: Receive, find_event_ids: FindEventIds) -> None:
        self._store = store
        self._receive = receive
        self._find_event_ids = find_event_ids
        self._locks = KeyedLocks()
        self._slow: set[_Queue] = set()
        """Of which events wait on disk."""
        self._nursery: trio.Nursery | None = None

    def scan_busy(self) -> Iterator[tuple[RoomId, ServerName]]:
        """Queues in which anything is being received or waits."""
        for key in list(self._locks):
            room_id, origin = key
            yield room_id, origin

    async def run(self) -> None:
        """Receives for as long as the server runs, what waited from the last time first."""
        async with trio.open_nursery() as nursery:
            with self._store.snapshot() as snapshot:
                for room in list(received.scan_waiting_rooms(snapshot)):
                    room_id = RoomId(short_ids.get_room_record(snapshot, room).room_id)
                    for origin in {ServerName(row.origin) for _, row in received.scan_waiting(snapshot, room)}:
                        self._slow.add((room_id, origin))
                        nursery.start_soon(self._receive_waiting, room, (room_id, origin))
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    @property
    def is_running(self) -> bool:
        return self._nursery is not None

    def start(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run something of a transaction that goes on when its request is given up."""
        assert self._nursery is not None, "the queues are not running"
        self._nursery.start_soon(function, *args)

    async def put(self, origin: ServerName, room_id: RoomId, texts: Sequence[bytes]) -> Results:
        """Receive events, or write them down: what is told of them then is that they were taken.

        Raises ``StorageFull`` and ``LimitExceeded``.
        """
        with self._store.snapshot() as snapshot:
            room = short_ids.get_room(snapshot, room_id)
        job = _Job(origin, texts)
        if room is None or (room_id, origin) not in self._slow:
            self.start(self._do, job, room_id)
            with trio.move_on_after(PATIENCE_S):
                await job.done.wait()
        if room is None and not job.done.is_set():
            # A room that is just being joined: it cannot be written down yet, and must not be said to be taken.
            raise LimitExceeded("the room is being joined: send it again later")
        if not job.done.is_set() and room is not None and not await self._write_down(job, room, room_id):
            return dict.fromkeys(
                await self._find_event_ids(room_id, texts),
                "the room is busy, and too many events wait, or too large ones",
            )
        if job.error is not None:
            raise job.error
        if job.done.is_set():
            return job.results
        return dict.fromkeys(await self._find_event_ids(room_id, texts))

    async def _do(self, job: _Job, room_id: RoomId) -> None:
        async with self._locks.hold((room_id, job.origin)):
            try:
                job.results = await self._receive(job.origin, room_id, job.texts)
            except StorageFull as error:
                job.error = error
            job.done.set()
            if job.waiting and job.error is None:
                await self._forget(job.waiting)

    async def _write_down(self, job: _Job, room: ShortRoomId, room_id: RoomId) -> bool:
        """False if there is no more room for it."""
        jsons = [text for text in job.texts if len(text) <= EVENT_BYTES_MAX]
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                job.waiting = received.stage_waiting(snapshot, turn, room, job.origin, jsons)
        if job.done.is_set() and job.error is None:
            await self._forget(job.waiting)
        elif job.waiting and (room_id, job.origin) not in self._slow:
            self._slow.add((room_id, job.origin))
            self.start(self._receive_waiting, room, (room_id, job.origin))
        return bool(job.waiting)

    async def _receive_waiting(self, room: ShortRoomId, queue: _Queue) -> None:
        """Receive all events of a queue that wait."""
        room_id, origin = queue
        while True:
            # Whoever was slow goes first, and takes what was written down of it away.
            async with self._locks.hold(queue):
                with self._store.snapshot() as snapshot:
                    waiting = received.scan_waiting(snapshot, room)
                    rows = list(islice((it for it in waiting if it[1].origin == origin), AT_ONCE))
                if not rows:
                    self._slow.discard(queue)
                    return
                try:
                    await self._receive(origin, room_id, [row.json for _, row in rows])
                    await self._forget([key for key, _ in rows])
                except StorageFull:
                    await trio.sleep(RETRY_S)

    async def _forget(self, keys: Sequence[RoomPos]) -> None:
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            received.stage_not_waiting(turn, keys)
