"""The store as the account services use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conduit_py.data.short_ids import ShortIds
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where to read, how to write, what to hold meanwhile, and the time."""

    database: Database
    writer: Writer
    locks: KeyedLocks
    ids: ShortIds
    now_ms: Callable[[], int]

    def snapshot(self) -> Snapshot:
        """A view of everything that has landed. Never await while one is open."""
        return self.database.snapshot()
