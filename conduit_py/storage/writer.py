"""The one writer: gathers concurrent commits into one transaction and one fsync.

A thread of its own applies the batches, because a commit waits for the disk. The event loop hands batches over in a
queue and is told through ``run_sync_soon``, which keeps order: batches settle in the order they were queued, and the
thread's last word comes after all of them. In tests the memory engine is written to in place, without a thread.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any

import trio

from conduit_py.observe.requests import COMMIT, timed
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.locks import acquire
from kvschema.batch import WriteBatch
from kvschema.catalog import server
from kvschema.engine import Engine, Outcome
from kvschema.errors import StorageFailed, StorageFull

_log = logging.getLogger(__name__)

GROUP_COMMITS_MAX = 256
"""Batches in one fsync: bounds how long the first of them waits for the last."""
QUEUE_COMMITS_MAX = 1024
"""Turns at a time. Who comes later waits before reading anything, so memory and delay stay bounded."""
SWITCH_INTERVAL_S = 1e-4
"""How long the event loop may keep the interpreter from the writer thread. At Python's 5 ms a busy loop lets a handful
of commits through in a second; at this it loses less than 5 % and the writer keeps its pace."""


class Turn:
    """The right to queue one batch, and the batch. Made by ``Writer.turn``."""

    __slots__ = (
        "_held",
        "_kept",
        "_landed",
        "_positions",
        "_settled",
        "batch",
        "done",
        "gives_way",
        "outcome",
        "pos",
        "queued_s",
    )

    def __init__(self, positions: Positions, batch: WriteBatch) -> None:
        self._positions = positions
        self.batch = batch
        self.pos = 0
        """The last position taken, 0 for none."""
        self._landed: list[Callable[[], None]] = []
        self._settled: list[Callable[[], None]] = []
        self._held: list[Hashable] = []
        self._kept: list[tuple[Hashable, Any, int]] = []
        self.done = trio.Event()
        self.gives_way = False
        """Others who heard that it has landed go first."""
        self.outcome: Outcome = None
        self.queued_s = 0.0

    def take_pos(self) -> int:
        """The next position of the stream. Nothing may await between here and the end of the turn."""
        self.pos = self._positions.take()
        return self.pos

    def skip_pos(self, count: int) -> None:
        """Leave out ``count`` positions, for what is put between others later. ``take_pos`` must follow."""
        self._positions.last += count

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
        self._settled.clear()

    def forget(self) -> None:
        """Let go of who is to be told: they hold the turn, and the garbage collector would have to find that out."""
        self._landed.clear()
        self._settled.clear()

    def changes(self, *keys: Hashable) -> None:
        """These cache keys are changed by the batch: nobody is given the old value once it may be on disk."""
        self._held.extend(keys)

    def keep(self, key: Hashable, value: Any, size: int) -> None:
        """Cache a new value of about ``size`` bytes when it has landed, unless this batch or a later one changes it."""
        self._kept.append((key, value, size))


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
        self._failure: BaseException | None = None
        self._is_closed = False
        self._ended = trio.Event()
        self.is_full = False
        """Are writes refused because the disk or quota is full?"""
        self.commits = 0
        """Batches that were settled, the refused ones too."""
        self.groups = 0
        """Transactions they shared, about one fsync each."""
        self.observe_commit: Callable[[float], None] = lambda seconds: None
        """Told of each batch, from the queue to the disk, on the loop's thread."""
        self.observe_group: Callable[[float], None] = lambda seconds: None
        """Told of each transaction, its fsync included, on the writer's thread."""

    @property
    def waiting(self) -> int:
        """Turns that have a place in the queue or want one."""
        return QUEUE_COMMITS_MAX - self._places.value + self._places.statistics().tasks_waiting

    @property
    def is_alive(self) -> bool:
        """Does a turn have a chance to land?"""
        return self._failure is None and not self._is_closed

    @asynccontextmanager
    async def turn(self, *, may_use_reserve: bool = False) -> AsyncIterator[Turn]:
        """Wait for a place in the queue, stage in the block without awaiting, resume when the batch is on disk.

        Cancellation takes effect before the block or not at all: whoever holds a lock keeps it until the write has
        landed. Raises ``StorageFull`` (nothing changed, 507), ``PreconditionFailed`` (read again and decide again),
        ``BatchRefused`` or ``StorageFailed`` (the process is about to end).
        """
        await acquire(self._places)
        try:
            turn = Turn(self._positions, WriteBatch(may_use_reserve=may_use_reserve))
            is_queued = False
            try:
                yield turn
                if turn.batch:
                    self._enqueue(turn)
                    is_queued = True
            finally:
                if not is_queued:
                    turn.drop()
            if is_queued:
                with trio.CancelScope(shield=True), timed(COMMIT):
                    await turn.done.wait()
            if turn.gives_way or not is_queued:
                # A loop over what turns out to need no write must not keep everybody else waiting.
                await trio.lowlevel.cancel_shielded_checkpoint()
            if turn.outcome is not None:
                raise turn.outcome
        finally:
            self._places.release()

    def _enqueue(self, turn: Turn) -> None:
        if self._failure is not None or self._is_closed:
            raise StorageFailed("the writer has ended")
        if turn.pos:
            assert turn.pos > self._queued_pos, "a turn awaited between taking a position and its end"
            self._queued_pos = turn.pos
            turn.batch.put(server.GLOBAL, server.ByName("position"), turn.pos.to_bytes(8, "big"))
        self._cache.hold(turn._held)
        turn.queued_s = time.perf_counter()
        if self._queue is not None:
            self._queue.put(turn)
            return
        try:
            outcomes = self._apply([turn])
        except Exception as error:
            self._fail([turn], error)
        else:
            self._settle([turn], outcomes)

    def _apply(self, group: list[Turn]) -> list[Outcome]:
        started = time.perf_counter()
        outcomes = self._engine.apply([turn.batch for turn in group])
        self.observe_group(time.perf_counter() - started)
        return outcomes

    def _settle(self, group: list[Turn], outcomes: list[Outcome]) -> None:
        self.commits += len(group)
        self.groups += 1
        now = time.perf_counter()
        for turn, outcome in zip(group, outcomes, strict=True):
            turn.outcome = outcome
            self.observe_commit(now - turn.queued_s)
            if outcome is None:
                # Before the release: what is changed on the way is held, and a held key is not put.
                for key, value, size in turn._kept:
                    self._cache.put(key, value, size, turn.pos)
            self._cache.release(turn._held)
            self._call(turn._settled if outcome is not None else turn._landed + turn._settled)
            turn.forget()
            turn.done.set()
        self._note_full(group)

    def _call(self, callbacks: list[Callable[[], None]]) -> None:
        for callback in callbacks:
            try:
                callback()
            except Exception as error:
                # Memory is now behind the disk: nothing sane can go on from here. What is queued still lands.
                _log.exception("a callback of a batch failed")
                self._failure = self._failure or error
                self._end()

    def _note_full(self, group: list[Turn]) -> None:
        is_refused = any(isinstance(turn.outcome, StorageFull) for turn in group)
        # Deletes land on a full disk too, and say nothing about room.
        is_written = any(turn.outcome is None and not turn.batch.may_use_reserve for turn in group)
        if is_refused and not self.is_full:
            _log.error("the disk or quota is full: writes are refused until there is room, reads go on")
        elif self.is_full and is_written and not is_refused:
            _log.warning("there is room on the disk again: writes are accepted")
        self.is_full = is_refused or (self.is_full and not is_written)

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
            self._call(turn._settled)
            turn.done.set()
        self._ended.set()

    def _apply_groups(self, token: trio.lowlevel.TrioToken) -> None:
        """The writer thread."""
        assert self._queue is not None
        while True:
            first = self._queue.get()
            if first is None:
                token.run_sync_soon(self._ended.set)
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
                outcomes = self._apply(group)
            except BaseException as error:
                token.run_sync_soon(self._fail, group, error)
                return
            token.run_sync_soon(self._settle, group, outcomes)
            if closed:
                token.run_sync_soon(self._ended.set)
                return

    async def run(self) -> None:
        """Watch over the writer: returns when it was closed and has drained, raises ``StorageFailed`` if it died."""
        with trio.CancelScope(shield=True):
            if self._queue is None:
                await self._ended.wait()
            else:
                await self._run_thread()
        if self._failure is not None:
            raise StorageFailed("writing failed; the server must end") from self._failure

    async def _run_thread(self) -> None:
        token = trio.lowlevel.current_trio_token()
        interval_s = sys.getswitchinterval()
        sys.setswitchinterval(min(interval_s, SWITCH_INTERVAL_S))
        self._engine.run_exclusively(lambda function: _run_on_loop(token, function))
        try:
            threading.Thread(target=self._apply_groups, args=(token,), name="writer", daemon=True).start()
            await self._ended.wait()
        finally:
            self._engine.run_exclusively(None)
            sys.setswitchinterval(interval_s)

    def close(self) -> None:
        """Let queued batches land and end. A turn that ends from now on fails."""
        self._is_closed = True
        self._end()

    def _end(self) -> None:
        if self._queue is None:
            self._ended.set()
        else:
            self._queue.put(None)


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
