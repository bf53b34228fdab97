"""Opens the store, checks whose it is, and hands out snapshots."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from conduit_py.storage.cache import ObjectCache
from kvschema.batch import WriteBatch
from kvschema.catalog import CATALOG, PRODUCT, RETIRED, SCHEMA_VERSION, server
from kvschema.engine import Engine
from kvschema.engine.file_space import make_directory
from kvschema.engine.lmdb import DATA_FILE as DATA_FILE
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.lmdb_file import put_rows
from kvschema.engine.pins import CopyPromise
from kvschema.errors import SchemaMismatch
from kvschema.migrate import apply_one, catalog_specs, check_catalog, migrate
from kvschema.tree import Reader

_log = logging.getLogger(__name__)

T = TypeVar("T")
_MISSING: Any = object()
FACTS_MAX = 4096
"""Facts kept of one version of the store, about 300 bytes each."""

DIRECTORY = "db"
"""Where the environment lives, below ``database_path``."""
LOCK_FILE = "conduit_py.lock"
MIGRATION_TOLD_S = 2
"""Between two lines of the log about how far a migration is."""
TREES = [*(tree.name for tree in CATALOG), *RETIRED]
"""What a store is opened with. A migration may read trees that nothing else knows any more."""


class Snapshot:
    """A consistent view of the store at one position, with the object cache. Used inside its ``with`` block only."""

    __slots__ = ("_context", "_facts", "cache", "count", "get", "pos", "scan", "version")

    get: Callable[[str, bytes], bytes | None]
    scan: Callable[[str, bytes, bytes, bytes, bool], Iterator[tuple[bytes, bytes]]]
    count: Callable[[str], int]
    version: int
    pos: int
    """The last position that landed before the snapshot: nothing newer is in it, and nothing older is missing."""

    def __init__(self, context: AbstractContextManager[Reader], cache: ObjectCache) -> None:
        self._context = context
        self.cache = cache

    def __enter__(self) -> Snapshot:
        reader = self._context.__enter__()
        self.get, self.scan, self.count = reader.get, reader.scan, reader.count
        self.version = reader.version
        self._facts = self.cache.facts_of(self.version)
        self.pos = self._facts.get(_POSITION, -1)
        if self.pos < 0:
            self.pos = int.from_bytes(reader.get(server.GLOBAL.name, _POSITION) or b"", "big")
            self._facts[_POSITION] = self.pos
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, traceback)

    def once(self, key: Hashable, read: Callable[[], T]) -> T:
        """What ``read`` finds in this snapshot. It is asked once until anything lands, and must be small.

        Unlike what is in ``cache``, it needs nobody to say when it changes.
        """
        found: T = self._facts.get(key, _MISSING)
        if found is _MISSING:
            if len(self._facts) >= FACTS_MAX:
                self._facts.clear()
            found = self._facts[key] = read()
        return found

    def is_from_lost_future(self, pos: int) -> bool:
        """Was this position handed out by a history that is gone, because an old copy of the data was put back?"""
        if pos > self.pos:
            return True
        return self.once(("lost", pos), lambda: self._is_in_gap(pos))

    def _is_in_gap(self, pos: int) -> bool:
        for _, end in server.STARTGAP.scan(self, after=server.ByPos(pos), reverse=True):
            return pos <= end
        return False


_STAMP = ("product", "schema", "server_name", "catalog")
_POSITION = server.GLOBAL.key.encode(server.ByName("position"))


class Database:
    """The store of one server. Made by ``open_database`` or over any engine in tests."""

    def __init__(self, engine: Engine, cache: ObjectCache) -> None:
        self.engine = engine
        self.cache = cache

    def snapshot(self) -> Snapshot:
        """A view of everything that has landed. Never await while one is open."""
        return Snapshot(self.engine.snapshot(), self.cache)


def stamp(engine: Engine, server_name: str) -> None:
    """Claim an empty store, or check that it is ours, this server's, and not newer than we are; then migrate.

    Raises ``SchemaMismatch`` with a sentence that says what to do.
    """
    with engine.snapshot() as reader:
        stored = {name: server.GLOBAL.get(reader, server.ByName(name)) for name in _STAMP}
    if stored["product"] is None:
        _claim(engine, server_name)
        return
    if stored["product"] != PRODUCT.encode():
        raise SchemaMismatch(
            f"the database belongs to another product ({stored['product'].decode(errors='replace')}): "
            "set database_path to an empty directory; the data that is there stays untouched"
        )
    if stored["server_name"] != server_name.encode():
        raise SchemaMismatch(
            f"the database belongs to the server {(stored['server_name'] or b'').decode(errors='replace')!r}, and "
            f"server_name is {server_name!r}: a server's name can never change. Set server_name back, or set "
            "database_path to an empty directory to begin a new server"
        )
    version = int(stored["schema"] or b"0")
    if version > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"the database has schema {version} and this program knows schemas up to {SCHEMA_VERSION}: it was "
            "written by a newer version. Start that version again, or put back the copy of the directory from before "
            "the upgrade"
        )
    if version < SCHEMA_VERSION:
        log = _MigrationLog()
        migrate(engine, version, on_step=log.begin, on_rows=log.go_on)
        _log.warning("the database has schema %d now", SCHEMA_VERSION)
    elif check_catalog(stored["catalog"] or b"{}"):
        batch = WriteBatch(may_use_reserve=True)
        batch.put(server.GLOBAL, server.ByName("catalog"), catalog_specs())
        apply_one(engine, batch)


class _MigrationLog:
    """Lets the operator see that a long migration goes on. At the level that is never filtered out by default."""

    def __init__(self) -> None:
        self._version = 0
        self._told_s = 0.0

    def begin(self, version: int) -> None:
        self._version, self._told_s = version, time.monotonic()
        _log.warning("bringing the database to schema %d; the server listens when it is there", version)

    def go_on(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if now_s >= self._told_s + MIGRATION_TOLD_S:
            self._told_s = now_s
            _log.warning("bringing the database to schema %d: %d of %d rows", self._version, done, total)


def _claim(engine: Engine, server_name: str) -> None:
    batch = WriteBatch()
    facts = {
        "product": PRODUCT.encode(),
        "schema": str(SCHEMA_VERSION).encode(),
        "server_name": server_name.encode(),
        "catalog": catalog_specs(),
    }
    for name, value in facts.items():
        batch.put(server.GLOBAL, server.ByName(name), value)
    apply_one(engine, batch)


def claim_directory(path: Path) -> int:
    """Make the data directory and lock it against a second server; the lock ends with the process.

    Returns the descriptor that holds the lock. Raises ``SchemaMismatch`` where another server runs on it.
    """
    make_directory(path)
    descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SchemaMismatch(f"another server is running on {path}: stop it first") from None
    return descriptor


def record_start(engine: Engine, now_us: int) -> int:
    """Note that positions go on from ``now_us`` or from the stored one, and return the position to go on from.

    Positions between the two were never handed out by the history in these files: whoever holds one got it from a
    future that was lost when an old copy was put back. See ``Snapshot.is_from_lost_future``.
    """
    with engine.snapshot() as reader:
        stored = int.from_bytes(reader.get(server.GLOBAL.name, _POSITION) or b"", "big")
        starts = [key for key, _ in server.STARTGAP.scan(reader)]
    batch = WriteBatch(may_use_reserve=True)
    if stored and now_us > stored:
        batch.put(server.STARTGAP, server.ByPos(stored), now_us)
    for old in starts[: -server.STARTGAPS_MAX]:
        batch.delete(server.STARTGAP, old)
    if batch:
        apply_one(engine, batch)
    return max(stored, now_us)


def pass_on_position(path: Path, *, stored: int, reached: int) -> None:
    """Tell a data file that nobody has open how far a history went that it takes the place of.

    The server that opens it goes on from there even if the clock does not say so. See ``record_start``.
    """
    if stored and reached > stored:
        put_rows(path, server.STARTGAP.name, {_encode_pos(stored): server.STARTGAP.value.encode(reached)})
        put_rows(path, server.GLOBAL.name, {_POSITION: reached.to_bytes(8, "big")})


def _encode_pos(pos: int) -> bytes:
    return server.STARTGAP.key.encode(server.ByPos(pos))


def open_database(
    path: Path, server_name: str, *, cache_bytes: int, reserve_bytes: int, copies: CopyPromise | None = None
) -> Database:
    """Open or create the store below ``path``, check its stamp and bring it up to date.

    :param copies: what is promised to those who copy it meanwhile; without it, nothing is, and a copy stays a copy.
    """
    engine = LmdbEngine(path / DIRECTORY, TREES, reserve_bytes=reserve_bytes, copies=copies)
    with ExitStack() as undo:
        undo.callback(engine.close)
        stamp(engine, server_name)
        undo.pop_all()
    return Database(engine, ObjectCache(cache_bytes))
