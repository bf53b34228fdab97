"""LMDB behind the engine interface: the only module that imports lmdb.

How the file grows. The memory map is exactly as large as what the disk has promised to hold: before the map grows,
the file is extended with ``posix_fallocate``, so a full disk or quota says no at a moment when saying no is harmless,
and never in the middle of a commit. Beyond the map the file has ``reserve_bytes`` more, promised by the disk as well;
the map moves into them only for batches that free more than they take, so that deletes still succeed on a full disk.
The map may only be replaced while no read transaction is open, hence ``run_exclusively``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from kvschema.batch import ADD, DELETE, PUT, WriteBatch
from kvschema.codec import KEY_BYTES_MAX
from kvschema.engine import Outcome
from kvschema.engine.steps import added, check_required
from kvschema.errors import BatchRefused, SchemaMismatch, StorageFailed, StorageFull

MAP_BYTES_INITIAL = 16 << 20
GROWTH_BYTES_MIN = 1 << 20
GROWTH_BYTES_MAX = 256 << 20
RESERVE_BYTES = 8 << 20
READERS_MAX = 512
"""Read transactions at a time, over all processes that look at the file (LMDB's default of 126 is too few)."""
SPARE_TRANSACTIONS = 8

_Get = Callable[[bytes, None, Any], Any]
# Transactions are opened without ``buffers``, so what they return is bytes and never a memoryview.

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_WORDS = tuple(os.strerror(number) for number in _FULL)


class LmdbEngine:
    """One LMDB environment in the directory ``path``, which is made if it is missing (mode 0700).

    Raises ``OSError`` or ``SchemaMismatch`` where the directory cannot be used.
    """

    def __init__(
        self,
        path: Path,
        tree_names: Sequence[str],
        *,
        map_bytes: int = MAP_BYTES_INITIAL,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = path / "data.mdb"
        size = data.stat().st_size if data.exists() else 0
        self._env = lmdb.open(
            str(path),
            max_dbs=len(tree_names) + 1,
            map_size=max(map_bytes, size - reserve_bytes),
            max_readers=READERS_MAX,
            max_spare_txns=SPARE_TRANSACTIONS,
            mode=0o600,
        )
        if self._env.max_key_size() < KEY_BYTES_MAX:
            raise SchemaMismatch(f"this LMDB build limits keys to {self._env.max_key_size()} bytes")
        self._env.reader_check()
        self._reserve = reserve_bytes
        self._run: Callable[[Callable[[], None]], None] = lambda function: function()
        self._file = os.open(data, os.O_RDWR)
        self._map = int(self._env.info()["map_size"])
        self._allocated = 0
        self._allocate(self._map + self._reserve)
        self._trees = {name: self._env.open_db(name.encode()) for name in tree_names}
        _sync_directory(path)
        if size == 0:
            _sync_directory(path.parent)

    def run_exclusively(self, run: Callable[[Callable[[], None]], None]) -> None:
        """See ``Engine``."""
        self._run = run

    def snapshot(self) -> LmdbReader:
        """See ``Engine``."""
        return LmdbReader(self._env.begin(), self._trees)

    @property
    def map_bytes(self) -> int:
        """How large the store may become without asking the disk for more."""
        return self._map

    def apply(self, batches: Sequence[WriteBatch]) -> list[Outcome]:
        """See ``Engine``."""
        if not self._reserve_is_whole():
            return [self._apply_alone(batch) for batch in batches]
        while True:
            try:
                return self._apply_group(batches)
            except (lmdb.MapFullError, lmdb.TxnFullError) as error:
                if isinstance(error, lmdb.TxnFullError) or not self._grow():
                    return [self._apply_alone(batch) for batch in batches]
            except lmdb.Error as error:
                if not _says_full(error):
                    raise StorageFailed(f"the database could not be written: {error}") from error
                return [self._apply_alone(batch) for batch in batches]

    def _apply_group(self, batches: Sequence[WriteBatch]) -> list[Outcome]:
        with self._env.begin(write=True) as transaction:
            return [self._apply_nested(transaction, batch) for batch in batches]

    def _apply_nested(self, parent: lmdb.Transaction, batch: WriteBatch) -> Outcome:
        try:
            with self._env.begin(write=True, parent=parent) as transaction:
                self._write(transaction, batch)
        except BatchRefused as refused:
            return refused
        except lmdb.BadValsizeError as error:
            return BatchRefused(f"a row does not fit the store: {error}")
        return None

    def _write(self, transaction: lmdb.Transaction, batch: WriteBatch) -> None:
        get: _Get = transaction.get
        put, delete, trees = transaction.put, transaction.delete, self._trees
        for op, tree, key, value, append, absent in batch.writes:
            database = trees[tree]
            if op == PUT:
                if append and self._is_last(transaction, tree, key):
                    put(key, value, append=True, db=database)
                else:
                    put(key, value, db=database)
            elif op == DELETE:
                delete(key, db=database)
            elif op == ADD:
                total = added(tree, key, value, get(key, None, database))
                delete(key, db=database) if total is None else put(key, total, db=database)
            else:
                check_required(tree, key, value, absent, get(key, None, database))

    def _is_last(self, transaction: lmdb.Transaction, tree: str, key: bytes) -> bool:
        with transaction.cursor(db=self._trees[tree]) as cursor:
            return not cursor.last() or bytes(cursor.key()) < key

    def _apply_alone(self, batch: WriteBatch) -> Outcome:
        """One batch in a transaction of its own, for when the disk is full or a group is too large."""
        if not (batch.may_use_reserve or self._reserve_is_whole() or self._free_bytes() > self._reserve):
            return StorageFull("the disk or quota is full")
        while True:
            try:
                return self._apply_group([batch])[0]
            except lmdb.MapFullError:
                if not (self._grow() or (batch.may_use_reserve and self._grow_into_reserve())):
                    return StorageFull("the disk or quota is full")
            except lmdb.TxnFullError as error:
                return BatchRefused(f"a batch is too large for one transaction: {error}")
            except lmdb.Error as error:
                if _says_full(error):
                    return StorageFull(f"the disk or quota is full: {error}")
                raise StorageFailed(f"the database could not be written: {error}") from error

    def _reserve_is_whole(self) -> bool:
        return self._allocated - self._map >= self._reserve or self._allocate(self._map + self._reserve)

    def _free_bytes(self) -> int:
        """Bytes of the map in no tree: freed pages and pages never used."""
        with self._env.begin() as transaction:
            stats = [transaction.stat(database) for database in self._trees.values()]
        pages = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        return self._map - int(pages) * int(self._env.stat()["psize"])

    def _grow(self) -> bool:
        """Grow the map, by less where the disk has little left. False where it has nothing."""
        step = min(max(GROWTH_BYTES_MIN, self._map // 4), GROWTH_BYTES_MAX)
        for more in (step, GROWTH_BYTES_MIN):
            if self._allocate(self._map + more + self._reserve):
                self._set_map(self._map + more)
                return True
        return False

    def _grow_into_reserve(self) -> bool:
        if self._map >= self._allocated:
            return False
        self._set_map(min(self._allocated, self._map + max(self._reserve // 4, 1 << 16)))
        return True

    def _set_map(self, size: int) -> None:
        self._run(lambda: self._env.set_mapsize(size))
        self._map = size

    def _allocate(self, size: int) -> bool:
        """Have the disk promise the first ``size`` bytes of the file. False where disk or quota refuses."""
        if size <= self._allocated:
            return True
        before = os.fstat(self._file).st_size
        try:
            os.posix_fallocate(self._file, self._allocated, size - self._allocated)
        except OSError as error:
            if error.errno not in _FULL:
                raise StorageFailed(f"the database file could not be extended: {error}") from error
            os.ftruncate(self._file, before)
            return False
        self._allocated = size
        return True

    def close(self) -> None:
        """Let go of files and locks."""
        os.close(self._file)
        self._env.close()


class LmdbReader:
    """A read transaction as a context manager."""

    __slots__ = ("_get", "_transaction", "_trees")

    def __init__(self, transaction: lmdb.Transaction, trees: dict[str, lmdb._Database]) -> None:
        self._transaction = transaction
        self._get: _Get = transaction.get
        self._trees = trees

    def __enter__(self) -> LmdbReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transaction.abort()

    def get(self, tree: str, key: bytes, /) -> bytes | None:
        """See ``Reader``."""
        value: bytes | None = self._get(key, None, self._trees[tree])
        return value

    def count(self, tree: str, /) -> int:
        """See ``Reader``."""
        return int(self._transaction.stat(self._trees[tree])["entries"])

    def scan(
        self, tree: str, prefix: bytes, start: bytes, stop: bytes, reverse: bool, /
    ) -> Iterator[tuple[bytes, bytes]]:
        """See ``Reader``."""
        with self._transaction.cursor(db=self._trees[tree]) as cursor:
            if not _place(cursor, prefix, start, reverse):
                return
            rows: Any = cursor.iterprev() if reverse else cursor.iternext()
            for key, value in rows:
                if not key.startswith(prefix) or (stop and (key < stop if reverse else key > stop)):
                    return
                yield key, value


def _place(cursor: lmdb.Cursor, prefix: bytes, start: bytes, reverse: bool) -> bool:
    """Move to the first row of a scan. False where there is none."""
    if reverse:
        # The last key below the bound: ``start``, or the first key behind the prefix.
        bound = start or _successor(prefix)
        return bool(cursor.prev() if bound and cursor.set_range(bound) else cursor.last())
    if not cursor.set_range(max(prefix, start)):
        return False
    return bool(cursor.next()) if start and cursor.key() == start else True


def _successor(prefix: bytes) -> bytes:
    """The smallest key above every key that starts with ``prefix``, empty where there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b""


def _says_full(error: lmdb.Error) -> bool:
    # Only file systems that copy on write get here: elsewhere every page of the map was promised beforehand.
    return any(words in str(error) for words in _FULL_WORDS)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
