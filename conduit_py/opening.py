"""Opens the data directory: for the server, and for commands that are done where no server runs."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from conduit_py.config import Config, find_foreign_database
from conduit_py.data.short_ids import ShortIds
from conduit_py.service.backup.build import watch_copies
from conduit_py.service.backup.copied import check_copied
from conduit_py.service.restored import set_right_if_restored
from conduit_py.service.users.store import Store
from conduit_py.storage.database import claim_directory, open_database, record_start
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.pins import CopyWatch
from conduit_py.storage.writer import open_writer
from kvschema.errors import SchemaMismatch

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    store: Store
    watch: CopyWatch
    """Over copies that are made of the directory meanwhile."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_store(config: Config) -> AsyncIterator[Opened]:
    """The store of this configuration, which nobody else may open until the block ends.

    Raises ``SchemaMismatch`` or ``OSError`` with a sentence for the operator where it cannot be opened.
    """
    foreign = find_foreign_database(config.database_path)
    if foreign is not None:
        raise SchemaMismatch(foreign)
    lock = claim_directory(config.database_path)
    await check_copied(config)
    watch = watch_copies(config)
    database = open_database(
        config.database_path,
        config.server_name,
        cache_bytes=int(config.db_cache_capacity_mb * MIB),
        reserve_bytes=config.database_reserve_mb * MIB,
        copies=watch.promise,
    )
    try:
        last_pos = record_start(database.engine, time.time_ns() // 1000)
        async with open_writer(database.engine, database.cache, last_pos=last_pos, threaded=True) as writer:
            store = Store(database=database, writer=writer, locks=KeyedLocks(), ids=ShortIds(), now_ms=now_ms)
            await set_right_if_restored(store)
            yield Opened(store=store, watch=watch)
    finally:
        database.engine.close()
        os.close(lock)
