"""Engines that do what a test needs to see: wait, refuse, fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import trio

from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database
from conduit_py.storage.writer import Turn, Writer
from kvschema.batch import WriteBatch
from kvschema.catalog import server
from kvschema.engine import Outcome
from kvschema.engine.memory import MemoryEngine
from kvschema.errors import StorageFull
from kvschema.tree import Reader

PATIENCE_S = 60


class ScriptedEngine:
    """A memory engine that can be held before it applies a group, and refuse or fail on request."""

    def __init__(self) -> None:
        self._memory = MemoryEngine()
        self.groups: list[int] = []
        """How many batches each group had."""
        self.is_full = False
        self.failure: BaseException | None = None
        self._gate = threading.Event()
        self._gate.set()
        self._entered = threading.Semaphore(0)

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    async def entered(self) -> None:
        """Wait until the writer has begun another group."""
        assert await trio.to_thread.run_sync(lambda: self._entered.acquire(timeout=PATIENCE_S))

    def snapshot(self) -> AbstractContextManager[Reader]:
        return self._memory.snapshot()

    def measure(self) -> Mapping[str, int]:
        return self._memory.measure()

    def apply(self, batches: Sequence[WriteBatch]) -> list[Outcome]:
        self._entered.release()
        assert self._gate.wait(PATIENCE_S)
        self.groups.append(len(batches))
        if self.failure is not None:
            raise self.failure
        return [
            StorageFull("no room") if self.is_full and not batch.may_use_reserve else self._memory.apply([batch])[0]
            for batch in batches
        ]

    def run_exclusively(self, run: Callable[[Callable[[], None]], None] | None) -> None:
        self._memory.run_exclusively(run)

    def free_dead_readers(self) -> None:
        self._memory.free_dead_readers()

    @property
    def is_copy(self) -> bool:
        return self._memory.is_copy

    def make_own(self) -> None:
        self._memory.make_own()

    def close(self) -> None:
        self._memory.close()


def put(turn: Turn, name: str, value: bytes = b"x") -> None:
    turn.batch.put(server.GLOBAL, server.ByName(name), value)


async def commit(writer: Writer, name: str, *, may_use_reserve: bool = False) -> None:
    async with writer.turn(may_use_reserve=may_use_reserve) as turn:
        put(turn, name)


def names(engine: ScriptedEngine | MemoryEngine) -> set[str]:
    """What landed, without the position that is written along."""
    with Database(engine, ObjectCache(1000)).snapshot() as snapshot:
        return {key.name for key in server.GLOBAL.scan_keys(snapshot)} - {"position"}
