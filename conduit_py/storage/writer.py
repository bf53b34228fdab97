"""The one writer: gathers concurrent commits into one transaction and one fsync.

A thread of its own applies the batches, because a commit waits for the disk. The event loop hands batches over in a
queue and is told through ``run_sync_soon``. In tests the memory engine is written to in place, without a thread.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager

import trio

from conduit_py.storage.cache import ObjectCache
from kvschema.batch import WriteBatch
from kvschema.catalog import server
from kvschema.engine import Engine, Outcome
from kvschema.errors import StorageFailed, StorageFull

_log = logging.getLogger(__name__)

GROUP_COMMITS_MAX = 256
"""Batches in one fsync: bounds how long the first of them waits for the last."""
QUEUE_COMMITS_MAX = 1024
"""Turns at a time. Who comes later waits before reading anything, so memory and delay stay bounded."""


class Turn:
    """The right to queue one batch, and the batch. Made by ``Writer.turn``."""

    __slots__ = ("_held", "_landed", "_positions", "_settled", "batch", "done", "outcome", "pos")

    def __init__(self, positions: Positions, batch: WriteBatch) -> None:
        self._positions = positions
        self.batch = batch
        self.pos = 0
        """The last position taken, 0 for none."""
        self._landed: list[Callable[[], None]] = []
        self._settled: list[Callable[[], None]] = []
        self._held: list[Hashable] = []
        self.done = trio.Event()
        self.outcome: Outcome = None

    def take_pos(self) -> int:
        """The next position of the stream. Nothing may await between here and the end of the turn."""
        self.pos = self._positions.take()
        return self.pos

    def on_landed(self, callback: Callable[[], None]) -> None:
        """Call when the batch is on disk, in commit order, before the turn's owner resumes. Must not raise or block."""
        self._landed.append(callback)

    def on_settled(self, callback: Callable[[], None]) -> None:
        """Call when the batch has landed or was refused."""
        self._settled.append(callback)

    def drop(self) -> None:
        """The batch will not be queued."""
        for callback in self._settled:
            callback()

    def changes(self, *keys: Hashable) -> None:
        """These cache keys are changed by the batch: nobody is given the old value once it may be on disk."""
        self._held.extend(keys)


class Positions:
    """Hands out stream positions: unique for ever, even if an old copy of the database is put back.

    They count microseconds since 1970 at start and then one by one, so they stay behind the clock as long as fewer than
    a million are taken per second; a restart continues from the larger of the stored one and the clock.
    """

    def __init__(self, last: int) -> None:
        self.last = last

    def take(self) -> int:
        self.last += 1
        return self.last


class Writer:
    """Made by ``open_writer``."""

    def __init__(self, engine: Engine, cache: ObjectCache, positions: Positions, *, threaded: bool) -> None:
        self._engine = engine
        self._cache = cache
        self._positions = positions
        self._places = trio.Semaphore(QUEUE_COMMITS_MAX, max_value=QUEUE_COMMITS_MAX)
        self._queue: queue.SimpleQueue[Turn | None] | None = queue.SimpleQueue() if threaded else None
        self._queued_pos = 0
        self._is_full = False
        self._failure: BaseException | None = None
        self._ended = trio.Event()
        self.commits = 0
        self.groups = 0

    @asynccontextmanager
    async def turn(self, *, may_use_reserve: bool = False) -> AsyncIterator[Turn]:
        """Wait for a place in the queue, stage in the block without awaiting, resume when the batch is on disk.

        Cancellation takes effect before the block or not at all: whoever holds a lock keeps it until the write has
        landed. Raises ``StorageFull`` (nothing changed, 507), ``PreconditionFailed`` (read again and decide again),
        ``BatchRefused`` or ``StorageFailed`` (the process is about to end).
        """
        await self._places.acquire()
        try:
            turn = Turn(self._positions, WriteBatch(may_use_reserve=may_use_reserve))
            try:
                yield turn
            except BaseException:
                turn.drop()
                raise
            if not turn.batch:
                turn.drop()
                return
            self._enqueue(turn)
            with trio.CancelScope(shield=True):
                await turn.done.wait()
            if turn.outcome is not None:
                raise turn.outcome
        finally:
            self._places.release()

    def _enqueue(self, turn: Turn) -> None:
        if self._failure is not None:
            raise StorageFailed("the writer has ended")
        if turn.pos:
            assert turn.pos > self._queued_pos, "a turn awaited between taking a position and its end"
            self._queued_pos = turn.pos
            turn.batch.put(server.GLOBAL, server.ByName("position"), turn.pos.to_bytes(8, "big"))
        self._cache.hold(turn._held)
        if self._queue is not None:
            self._queue.put(turn)
            return
        self._settle([turn], self._engine.apply([turn.batch]))

    def _settle(self, group: list[Turn], outcomes: list[Outcome]) -> None:
        self.commits += len(group)
        self.groups += 1
        for turn, outcome in zip(group, outcomes, strict=True):
            turn.outcome = outcome
            self._cache.release(turn._held)
            for callback in turn._settled if outcome is not None else turn._landed + turn._settled:
                try:
                    callback()
                except Exception as error:
                    # Memory is now behind the disk; nothing sane can go on from here.
                    _log.exception("a callback of a landed batch failed")
                    self._failure = self._failure or error
                    self._ended.set()
            turn.done.set()
        self._note_full(outcomes)

    def _note_full(self, outcomes: list[Outcome]) -> None:
        is_full = any(isinstance(outcome, StorageFull) for outcome in outcomes)
        if is_full and not self._is_full:
            _log.error("the disk or quota is full: writes are refused until there is room, reads go on")
        elif self._is_full and not is_full:
            _log.warning("there is room on the disk again: writes are accepted")
        self._is_full = is_full

    def _fail(self, group: list[Turn], error: BaseException) -> None:
        """Tell everybody who waits, then let the process end."""
        self._failure = error
        if self._queue is not None:
            while not self._queue.empty():
                turn = self._queue.get()
                if turn is not None:
                    group.append(turn)
        for turn in group:
            turn.outcome = StorageFailed("the write did not land")
            self._cache.release(turn._held)
            turn.drop()
            turn.done.set()
        self._ended.set()

    def _apply_groups(self, token: trio.lowlevel.TrioToken) -> None:
        """The writer thread."""
        assert self._queue is not None
        while True:
            first = self._queue.get()
            if first is None:
                return
            group, closed = [first], False
            while len(group) < GROUP_COMMITS_MAX and not closed:
                try:
                    turn = self._queue.get_nowait()
                except queue.Empty:
                    break
                if turn is None:
                    closed = True
                else:
                    group.append(turn)
            try:
                outcomes = self._engine.apply([turn.batch for turn in group])
            except BaseException as error:
                token.run_sync_soon(self._fail, group, error)
                return
            token.run_sync_soon(self._settle, group, outcomes)
            if closed:
                return

    async def run(self) -> None:
        """Watch over the writer: returns when it was closed and has drained, raises ``StorageFailed`` if it died."""
        if self._queue is None:
            with trio.CancelScope(shield=True):
                await self._ended.wait()
        else:
            token = trio.lowlevel.current_trio_token()
            self._engine.run_exclusively(lambda function: _run_on_loop(token, function))
            thread = threading.Thread(target=self._apply_groups, args=(token,), name="writer", daemon=True)
            thread.start()
            with trio.CancelScope(shield=True):
                await self._ended.wait()
                await trio.to_thread.run_sync(thread.join)
        if self._failure is not None:
            raise StorageFailed("the database could not be written; the server must end") from self._failure

    def close(self) -> None:
        """Let queued batches land and end."""
        if self._queue is not None:
            self._queue.put(None)
        self._ended.set()


def _run_on_loop(token: trio.lowlevel.TrioToken, function: Callable[[], None]) -> None:
    # Snapshots live on the loop's thread and never across an await, so between two of its steps none is open.
    trio.from_thread.run_sync(function, trio_token=token)


@asynccontextmanager
async def open_writer(engine: Engine, cache: ObjectCache, *, last_pos: int, threaded: bool) -> AsyncIterator[Writer]:
    """A running writer whose positions go on from ``last_pos``.

    Leaving the block waits until every queued batch has settled.
    """
    writer = Writer(engine, cache, Positions(last_pos), threaded=threaded)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        try:
            yield writer
        finally:
            writer.close()
