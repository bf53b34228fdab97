"""Locks by key, dropped when nobody holds or waits for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import trio


async def acquire(lock: trio.Lock | trio.Semaphore) -> None:
    """The same as its ``acquire``, without a turn of the scheduler where it is free."""
    await trio.lowlevel.checkpoint_if_cancelled()
    try:
        lock.acquire_nowait()
    except trio.WouldBlock:
        await lock.acquire()


class KeyedLocks:
    """At most one task at a time per key. One task never holds two keys: that could deadlock."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, trio.Lock] = {}

    def __len__(self) -> int:
        return len(self._locks)

    def __iter__(self) -> Iterator[Any]:
        """The keys that somebody holds."""
        return iter(self._locks)

    @asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for the key's turn, first come first served, and hold it for the block."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = trio.Lock()
        try:
            await acquire(lock)
            try:
                yield
            finally:
                lock.release()
        finally:
            # One that somebody waits for is handed over, and never free in between.
            if not lock.locked():
                self._locks.pop(key, None)
