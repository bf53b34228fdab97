"""LMDB behind the engine interface: the only module that imports lmdb.

How the file grows. The memory map is exactly as large as what the disk has promised to hold: before the map grows,
the file is extended with ``posix_fallocate``, so a full disk or quota says no at a moment when saying no is harmless,
and never in the middle of a commit. Beyond the map the file has ``reserve_bytes`` more, promised by the disk as well;
the map moves into them only for batches that free more than they take, so that deletes still succeed on a full disk.
While the reserve is not whole, other batches are refused unless as many bytes are free inside the map.
The map may only be replaced while no read transaction is open, hence ``run_exclusively``.

The last page of the file is its stamp (``kvschema.engine.stamp``); with a ``CopyPromise``, pins hold what it promises
(``kvschema.engine.pins``). A disk that is full lets go of the pins before anything is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from kvschema.batch import ADD, DELETE, PUT, WriteBatch
from kvschema.codec import KEY_BYTES_MAX
from kvschema.engine import Outcome
from kvschema.engine.file_space import FULL, FileSpace, make_directory, sync_directory
from kvschema.engine.ownership import Ownership, adopt_marks, is_copy
from kvschema.engine.pages import Damaged, read_metas
from kvschema.engine.pins import CopyPromise, Pins
from kvschema.engine.stamp import STAMP_BYTES, UNPINNED, Torn, check_whole
from kvschema.engine.steps import added, check_required
from kvschema.errors import BatchRefused, SchemaMismatch, StorageError, StorageFailed, StorageFull

MAP_BYTES_INITIAL = 16 << 20
GROWTH_BYTES_MIN = 1 << 20
GROWTH_BYTES_MAX = 256 << 20
"""The map grows by a quarter of its size, but by no more than this unless one group of batches needs more."""
RESERVE_BYTES = 8 << 20
READERS_MAX = 512
"""Read transactions at a time, over all processes that look at the file (LMDB's default of 126 is too few)."""
SPARE_TRANSACTIONS = 8
DATA_FILE = "data.mdb"
LOCK_FILE = "lock.mdb"
_ROUND_BYTES = 1 << 16
"""Map sizes are multiples of this: a whole number of pages on every machine."""

_Get = Callable[[bytes, None, Any], Any]
# Transactions are opened without ``buffers``, so what they return is bytes and never a memoryview.

_FULL = "the disk or quota is full"
_FULL_WORDS = tuple(os.strerror(number) for number in FULL)


class LmdbEngine:
    """One LMDB environment in the directory ``path``, which is made if it is missing (mode 0700).

    Raises ``SchemaMismatch`` where the files are not ours, ``StorageFull`` where there is no room to begin, and
    ``StorageFailed`` or ``OSError`` where the directory cannot be used.
    """

    def __init__(
        self,
        path: Path,
        tree_names: Sequence[str],
        *,
        map_bytes: int = MAP_BYTES_INITIAL,
        reserve_bytes: int = RESERVE_BYTES,
        copies: CopyPromise | None = None,
    ) -> None:
        """Without ``copies``, nothing is promised to those who copy the file while it is written to, and the file stays
        what it is: somebody's own, or a copy.
        """
        make_directory(path)
        data = path / DATA_FILE
        is_own = not _is_copy(data)
        size = data.stat().st_size if data.exists() else 0
        self._reserve = reserve_bytes
        self._run: Callable[[Callable[[], None]], None] = _run_in_place
        self._pins: Pins | None = None
        with ExitStack() as undo:
            undo.callback(self._close_pins)
            self._env = _open_environment(path, len(tree_names) + 1, max(map_bytes, size - reserve_bytes - STAMP_BYTES))
            undo.callback(self._env.close)
            if size == 0:
                # A power cut must not leave a file that has its size and not its beginning.
                self._env.sync(True)
            self._check_owner(path, tree_names)
            self._check_lock(data)
            self._env.reader_check()
            self._page_bytes = int(self._env.stat()["psize"])
            # LMDB makes the map larger than asked where its pages need it.
            self._map = int(self._env.info()["map_size"])
            self._space = FileSpace(data, self._map)
            undo.callback(self._space.close)
            if is_own:
                adopt_marks(path, self._space)
            if not self._space.promise(self._map) and size == 0:
                raise StorageFull(f"{_FULL}: a new database needs {(self._map + reserve_bytes) >> 20} MiB at {path}")
            # On a full disk the reserve is what the file already has behind the map.
            self._space.promise(size - STAMP_BYTES)
            self._space.promise(self._map + reserve_bytes)
            self._pins = self._open_pins(path, copies, undo)
            self._ownership = None if copies is None else self._open_ownership(path, copies, is_own=is_own)
            self._trees: dict[str, lmdb._Database] = {}
            self._trees = self._open_trees(tree_names)
            sync_directory(path)
            undo.pop_all()

    def _check_owner(self, path: Path, tree_names: Sequence[str]) -> None:
        if self._env.max_key_size() < KEY_BYTES_MAX:
            raise SchemaMismatch(f"this LMDB build limits keys to {self._env.max_key_size()} bytes")
        with self._env.begin() as transaction, transaction.cursor() as cursor:
            names = {name.decode(errors="replace") for name in cursor.iternext(values=False)}
        if names and names.isdisjoint(tree_names):
            raise SchemaMismatch(
                f"{path} holds the database of another program: set database_path to an empty directory; "
                "the data that is there stays untouched"
            )

    def _check_lock(self, data: Path) -> None:
        """Whoever still reads a file that was here before keeps LMDB's lock file, and with it the number of the last
        transaction of that file: LMDB would take the older meta page of this one, and write over what the newer leads
        to.
        """
        # For writing, because that sets the number right after a process that was killed while it landed a transaction.
        with self._env.begin(write=True) as transaction:
            is_known = int(transaction.id()) - 1 == max(meta.transaction for meta in read_metas(data))
        if not is_known:
            raise SchemaMismatch(
                f"a process still reads the database that was at {data} before, perhaps a backup or a verification "
                "that is under way: wait for its end, or end it. Nothing was changed"
            )

    def _open_trees(self, tree_names: Sequence[str]) -> dict[str, lmdb._Database]:
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    return {name: self._env.open_db(name.encode(), txn=transaction) for name in tree_names}
            except lmdb.MapFullError:
                if not self._make_room(0, may_use_reserve=True):
                    raise StorageFull(f"{_FULL}: there is no room for new trees") from None
            except lmdb.Error as error:
                raise _failure(error) from error

    def _open_pins(self, path: Path, promise: CopyPromise | None, undo: ExitStack) -> Pins | None:
        """Before the first write."""
        if promise is None or not promise.seconds:
            self._space.write_stamp(replace(self._space.stamp, floor=UNPINNED))
            return None
        pins = Pins(promise, partial(_begin, self._env), self._space, path / LOCK_FILE)
        undo.callback(pins.end)
        return pins

    def _open_ownership(self, path: Path, promise: CopyPromise, *, is_own: bool) -> Ownership:
        return Ownership(path, self._space, is_own=is_own, random_mark=promise.random_mark, clock=promise.clock)

    def run_exclusively(self, run: Callable[[Callable[[], None]], None] | None) -> None:
        """See ``Engine``."""
        self._run = _run_in_place if run is None else run

    def snapshot(self) -> LmdbReader:
        """See ``Engine``."""
        return LmdbReader(self._env, self._trees)

    @property
    def map_bytes(self) -> int:
        """How large the store may become without asking the disk for more."""
        return self._map

    def measure(self) -> Mapping[str, int]:
        """See ``Engine``. Pages that are in no tree are free, or kept for snapshots and copies."""
        pages = int(self._env.info()["last_pgno"]) + 1
        return {
            "trees": self._tree_bytes(),
            "pages": pages * self._page_bytes,
            "map": self._map,
            "disk_free": self._space.free_bytes(),
        }

    def apply(self, batches: Sequence[WriteBatch]) -> list[Outcome]:
        """See ``Engine``."""
        if self._pins is not None:
            self._pins.open_if_due(int(self._env.info()["last_txnid"]))
        if self._ownership is not None:
            self._ownership.change_if_due()
        if self._has_reserve():
            outcomes = self._attempt(batches)
            if not isinstance(outcomes, StorageError):
                return outcomes
        return [self._apply_alone(batch) for batch in batches]

    def _apply_alone(self, batch: WriteBatch) -> Outcome:
        """One batch in a transaction of its own, for when the disk is full or a group is too large."""
        if not (batch.may_use_reserve or self._has_reserve()):
            return StorageFull(_FULL)
        outcomes = self._attempt([batch])
        if batch.may_use_reserve and isinstance(outcomes, StorageFull) and self._space.promised > self._map:
            # The commit itself found the disk full although all of the map was promised, as happens on file systems
            # that copy on write. There the reserve helps by making room for other blocks.
            self._space.give_back(self._map)
            outcomes = self._attempt([batch])
        return outcomes if isinstance(outcomes, StorageError) else outcomes[0]

    def _attempt(self, batches: Sequence[WriteBatch]) -> list[Outcome] | StorageError:
        """Apply all in one transaction, growing as needed. An error as the answer: none of them landed, and why."""
        bytes_wanted = sum(batch.bytes_staged for batch in batches)
        may_use_reserve = all(batch.may_use_reserve for batch in batches)
        while True:
            try:
                return self._apply_group(batches)
            except lmdb.MapFullError:
                if not self._make_room(bytes_wanted, may_use_reserve=may_use_reserve):
                    return StorageFull(_FULL)
            except lmdb.TxnFullError as error:
                return BatchRefused(f"a batch is too large for one transaction: {error}")
            except lmdb.Error as error:
                failure = _failure(error)
                if isinstance(failure, StorageFull):
                    return failure
                raise failure from error

    def _apply_group(self, batches: Sequence[WriteBatch]) -> list[Outcome]:
        try:
            with self._env.begin(write=True) as transaction:
                for batch in batches:
                    self._write(transaction, batch)
        except (BatchRefused, lmdb.BadValsizeError):
            # Seldom. The others land without the one that is refused; nested transactions copy each page they write.
            with self._env.begin(write=True) as transaction:
                return [self._apply_nested(transaction, batch) for batch in batches]
        return [None] * len(batches)

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
        for op, tree, key, value, append, absent, _ in batch:
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

    def _has_reserve(self) -> bool:
        """Will deletes still have room after a batch that takes some?"""
        return self._space.promise(self._map + self._reserve) or self._free_bytes() > self._reserve

    def _free_bytes(self) -> int:
        """Promised bytes of the map in no tree: freed pages and pages never used."""
        return min(self._map, self._space.promised) - self._tree_bytes()

    def _tree_bytes(self) -> int:
        with self._env.begin() as transaction:
            stats = [transaction.stat(database) for database in self._trees.values()]
        pages = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        return int(pages) * self._page_bytes

    def _make_room(self, bytes_wanted: int, *, may_use_reserve: bool) -> bool:
        """False where the disk has none, and neither has letting go of what copies need."""
        pins, more = self._pins, self._growth_bytes(bytes_wanted)
        if pins is not None and not pins.may_take(self._free_bytes(), more) and pins.let_go("so much was written"):
            return True
        return (
            self._grow(more)
            or (pins is not None and pins.let_go("the disk is full", everything=True))
            or (may_use_reserve and self._grow_into_reserve())
        )

    def _growth_bytes(self, bytes_wanted: int) -> int:
        return max(GROWTH_BYTES_MIN, min(self._map // 4, GROWTH_BYTES_MAX), bytes_wanted)

    def _grow(self, more: int) -> bool:
        """Grow the map, by less where the disk has little left. False where it has nothing."""
        while True:
            size = _rounded(self._map + more)
            if self._space.promise(size + self._reserve):
                self._set_map(size)
                return True
            if more == GROWTH_BYTES_MIN:
                return False
            more = max(more // 2, GROWTH_BYTES_MIN)

    def _grow_into_reserve(self) -> bool:
        if self._map >= self._space.promised:
            return False
        step = _rounded(max(self._reserve // 4, _ROUND_BYTES))
        self._set_map(min(self._space.promised, self._map + step))
        return True

    def _set_map(self, size: int) -> None:
        def set_map() -> None:
            self._env.set_mapsize(size)
            if self._pins is not None:
                self._pins.hold_again()

        self._run(set_map)
        self._map = size

    @property
    def is_copy(self) -> bool:
        """See ``Engine``."""
        return self._ownership is not None and not self._ownership.is_own

    def make_own(self) -> None:
        """See ``Engine``."""
        assert self._ownership is not None
        self._ownership.change()

    def free_dead_readers(self) -> None:
        """See ``Engine``."""
        self._env.reader_check()

    def close(self) -> None:
        """Let go of files and locks."""
        if self._pins is not None:
            self._pins.end()
        if self._ownership is not None and self._ownership.is_own:
            self._ownership.change()
        self._space.close()
        self._env.close()
        self._close_pins()

    def _close_pins(self) -> None:
        """After the environment, see there."""
        if self._pins is not None:
            self._pins.close()


def _is_copy(data: Path) -> bool:
    """Raises ``SchemaMismatch`` where it is a copy that is not whole."""
    try:
        if not is_copy(data):
            return False
        check_whole(data)
    except Damaged as damage:
        raise _unreadable(data.parent, damage) from damage
    except Torn as torn:
        raise SchemaMismatch(
            f"{data} is a copy that is not whole: {torn}. Put back another copy; this one cannot be used"
        ) from torn
    return True


def _unreadable(path: Path, error: Exception) -> SchemaMismatch:
    return SchemaMismatch(
        f"{path} holds no database that this program can read ({error}): put back a copy that is whole, or set "
        "database_path to an empty directory; the data that is there stays untouched"
    )


def _open_environment(path: Path, trees_max: int, map_bytes: int) -> lmdb.Environment:
    try:
        return lmdb.open(
            str(path),
            max_dbs=trees_max,
            map_size=_rounded(map_bytes),
            max_readers=READERS_MAX,
            max_spare_txns=SPARE_TRANSACTIONS,
            mode=0o600,
        )
    except (lmdb.InvalidError, lmdb.VersionMismatchError) as error:
        raise _unreadable(path, error) from error
    except lmdb.Error as error:
        raise _failure(error) from error


def _begin(environment: lmdb.Environment) -> lmdb.Transaction:
    """A read transaction."""
    try:
        return environment.begin()
    except lmdb.ReadersFullError:
        # Tools that looked at the file and were killed leave their slots behind.
        environment.reader_check()
        return environment.begin()


def _failure(error: lmdb.Error) -> StorageError:
    """What an error of LMDB means to a caller."""
    if any(words in str(error) for words in _FULL_WORDS):
        # Seldom: every page of the map was promised beforehand, unless the file system cannot promise.
        return StorageFull(f"{_FULL}: {error}")
    return StorageFailed(f"the database could not be used: {error}")


def _run_in_place(function: Callable[[], None]) -> None:
    function()


def _rounded(size: int) -> int:
    return max(size - size % _ROUND_BYTES, _ROUND_BYTES)


class LmdbReader:
    """A read transaction as a context manager."""

    __slots__ = ("_env", "_get", "_transaction", "_trees")

    def __init__(self, environment: lmdb.Environment, trees: dict[str, lmdb._Database]) -> None:
        self._env = environment
        self._trees = trees

    def __enter__(self) -> LmdbReader:
        self._transaction = _begin(self._env)
        self._get: _Get = self._transaction.get
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transaction.abort()
        # It keeps its slot while anybody can reach it, such as an exception that remembers where it was raised.
        del self._transaction
        self._get = _refuse

    def get(self, tree: str, key: bytes, /) -> bytes | None:
        """See ``Reader``."""
        value: bytes | None = self._get(key, None, self._trees[tree])
        return value

    @property
    def version(self) -> int:
        """See ``Reader``."""
        return int(self._transaction.id())

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


def _refuse(key: bytes, default: None, tree: Any) -> Any:
    raise RuntimeError("the snapshot is closed")


def _place(cursor: lmdb.Cursor, prefix: bytes, start: bytes, reverse: bool) -> bool:
    """Move to the first row of a scan. False where there is none."""
    if reverse:
        # The last key below the bound: ``start``, or the first key behind the prefix, whichever comes first.
        bound = min(filter(None, (start, _successor(prefix))), default=b"")
        return bool(cursor.prev() if bound and cursor.set_range(bound) else cursor.last())
    if not cursor.set_range(max(prefix, start)):
        return False
    return bool(cursor.next()) if start and cursor.key() == start else True


def _successor(prefix: bytes) -> bytes:
    """The smallest key above every key that starts with ``prefix``, empty where there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b""
