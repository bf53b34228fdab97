"""What only files do: growing, being opened again, belonging to somebody."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from kvschema.batch import WriteBatch
from kvschema.engine.file_space import FileSpace, make_directory
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.stamp import STAMP_BYTES
from kvschema.errors import BatchRefused, SchemaMismatch, StorageFailed, StorageFull
from tests.kvschema.conftest import small_lmdb
from tests.kvschema.sample import NAMED, NAMES, TIMELINE, Name, Place, apply, land, rows

MIB = 1 << 20


def filled(count: int, size: int, *, room: int = 1, may_use_reserve: bool = False) -> WriteBatch:
    batch = WriteBatch(may_use_reserve=may_use_reserve)
    for pos in range(count):
        batch.put(TIMELINE, Place(room, pos), bytes(size))
    return batch


def emptied(count: int, *, room: int = 1) -> WriteBatch:
    batch = WriteBatch(may_use_reserve=True)
    for pos in range(count):
        batch.delete(TIMELINE, Place(room, pos))
    return batch


def test_map_grows_for_a_group_and_each_batch_lands_once(lmdb_engine: LmdbEngine) -> None:
    before = lmdb_engine.map_bytes
    assert lmdb_engine.apply([filled(100, 3000, room=room) for room in range(20)]) == [None] * 20
    assert lmdb_engine.map_bytes > before
    assert len(rows(lmdb_engine, "timeline")) == 2000


def test_batch_larger_than_any_step_lands(lmdb_engine: LmdbEngine) -> None:
    land(lmdb_engine, filled(3, 30 * MIB))
    assert len(rows(lmdb_engine, "timeline")) == 3


def test_map_is_whole_pages_whatever_it_grew_by(lmdb_engine: LmdbEngine) -> None:
    for room in range(12):
        land(lmdb_engine, filled(1, 777_777, room=room))
        assert lmdb_engine.map_bytes % (1 << 16) == 0


def test_opening_again_changes_no_size(tmp_path: Path) -> None:
    with closing(small_lmdb(tmp_path)) as engine:
        land(engine, filled(500, 3000))
        map_bytes = engine.map_bytes
    data = tmp_path / "db" / "data.mdb"
    size = data.stat().st_size
    for _ in range(3):
        with closing(small_lmdb(tmp_path)) as engine:
            assert engine.map_bytes == map_bytes
            assert len(rows(engine, "timeline")) == 500
        assert data.stat().st_size == size


def test_file_without_its_reserve_is_given_one(tmp_path: Path) -> None:
    with closing(small_lmdb(tmp_path)) as engine:
        land(engine, filled(500, 3000))
    data = tmp_path / "db" / "data.mdb"
    with lmdb.open(str(tmp_path / "db"), max_dbs=9) as environment:
        (tmp_path / "copy").mkdir()
        environment.copy(str(tmp_path / "copy"), compact=True)
    os.replace(tmp_path / "copy" / "data.mdb", data)
    size = data.stat().st_size
    with closing(small_lmdb(tmp_path)) as engine:
        assert data.stat().st_size >= size + MIB
        assert len(rows(engine, "timeline")) == 500


def test_files_are_private(tmp_path: Path) -> None:
    with closing(LmdbEngine(tmp_path / "a" / "b", NAMES)):
        made = (tmp_path / "a" / "b", tmp_path / "a" / "b" / "data.mdb")
        modes = [stat.S_IMODE(path.stat().st_mode) for path in made]
    assert modes == [0o700, 0o600]


def test_new_trees_appear_in_an_old_file(tmp_path: Path) -> None:
    with closing(LmdbEngine(tmp_path, NAMES[:2])) as engine:
        land(engine, filled(1, 1))
    with closing(LmdbEngine(tmp_path, NAMES)) as engine:
        assert len(rows(engine, "timeline")) == 1
        assert rows(engine, "loose") == []


def test_environment_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), max_dbs=1, map_size=MIB) as environment:
        environment.open_db(b"theirs")
    before = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(SchemaMismatch, match="set database_path to an empty directory"):
        LmdbEngine(tmp_path, NAMES)
    assert (tmp_path / "data.mdb").read_bytes() == before


def test_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(SchemaMismatch, match="put back a copy that is whole"):
        LmdbEngine(tmp_path, NAMES)
    assert (tmp_path / "data.mdb").read_bytes() == b"not a database" * 1000


def test_engine_that_could_not_open_lets_go_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(SchemaMismatch):
        LmdbEngine(tmp_path, NAMES)
    (tmp_path / "data.mdb").unlink()
    LmdbEngine(tmp_path, NAMES).close()


def test_growing_runs_where_it_was_told(lmdb_engine: LmdbEngine) -> None:
    ran = []

    def run(function: Callable[[], None]) -> None:
        ran.append(lmdb_engine.map_bytes)
        function()

    lmdb_engine.run_exclusively(run)
    land(lmdb_engine, filled(500, 3000))
    assert ran
    lmdb_engine.run_exclusively(None)
    grown = len(ran)
    land(lmdb_engine, filled(500, 3000, room=2))
    assert len(ran) == grown


def test_readers_slots_of_the_dead_are_taken_back(lmdb_engine: LmdbEngine) -> None:
    """A tool that looked at the file and was killed leaves its slots taken."""
    script = (
        f"import lmdb, os; environment = lmdb.open({lmdb_engine._env.path()!r}, max_dbs=9, max_spare_txns=0)\n"
        "readers = []\n"
        "try:\n"
        "    while True: readers.append(environment.begin())\n"
        "except lmdb.ReadersFullError: os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    with lmdb_engine.snapshot():
        with pytest.raises(lmdb.ReadersFullError):
            lmdb_engine._env.begin()
        assert rows(lmdb_engine, "named") == []


class Disk:
    """Refuses to allocate while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: int = errno.ENOSPC) -> None:
        self.is_full = False
        self._error = error
        self._allocate = os.posix_fallocate
        monkeypatch.setattr(os, "posix_fallocate", self._refuse_or_allocate)

    def _refuse_or_allocate(self, descriptor: int, offset: int, length: int) -> None:
        # By blocks, because the file's new end is stamped before the rest of it is asked for.
        held = os.fstat(descriptor).st_blocks * 512
        if self.is_full and offset + length > held:
            raise OSError(self._error, os.strerror(self._error))
        self._allocate(descriptor, offset, length)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def fill(engine: LmdbEngine) -> int:
    """Write rooms of 100 rows until one is refused. Returns how many landed."""
    for room in range(1, 1000):
        outcome = apply(engine, filled(100, 1000, room=room))
        if outcome is not None:
            assert isinstance(outcome, StorageFull)
            return room - 1
    raise AssertionError("it never became full")


def test_full_disk_refuses_one_batch_and_lands_what_fits(lmdb_engine: LmdbEngine, disk: Disk) -> None:
    disk.is_full = True
    small, large = WriteBatch(), filled(2000, 1000)
    small.put(NAMED, Name("a"), "A")
    outcomes = lmdb_engine.apply([large, small])
    assert [type(outcome) for outcome in outcomes] == [StorageFull, type(None)]
    assert rows(lmdb_engine, "timeline") == []


def test_full_disk_deletes_and_then_writes_again(lmdb_engine: LmdbEngine, disk: Disk) -> None:
    disk.is_full = True
    landed = fill(lmdb_engine)
    assert len(rows(lmdb_engine, "timeline")) == landed * 100
    for room in range(1, landed + 1):
        land(lmdb_engine, emptied(100, room=room))
        if apply(lmdb_engine, filled(10, 1000, room=5000)) is None:
            break
    else:
        raise AssertionError("no room was made")


def test_deletes_land_as_long_as_the_reserve_lasts(lmdb_engine: LmdbEngine, disk: Disk) -> None:
    """Every row is deleted singly, from a store that is as full as it gets."""
    disk.is_full = True
    landed = fill(lmdb_engine)
    for room in range(1, landed + 1):
        for pos in range(100):
            batch = WriteBatch(may_use_reserve=True)
            batch.delete(TIMELINE, Place(room, pos))
            land(lmdb_engine, batch)
    assert rows(lmdb_engine, "timeline") == []
    assert fill(lmdb_engine) > 0


def test_reserve_is_not_eaten_by_ordinary_writes(lmdb_engine: LmdbEngine, disk: Disk) -> None:
    disk.is_full = True
    fill(lmdb_engine)
    reserve_batch = filled(100, 1000, room=2000, may_use_reserve=True)
    land(lmdb_engine, reserve_batch)
    for size in (1, 100, 3000):
        assert isinstance(apply(lmdb_engine, filled(1, size, room=3000)), StorageFull)
    disk.is_full = False
    land(lmdb_engine, filled(100, 3000, room=3000))


def test_store_opens_on_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    with closing(small_lmdb(tmp_path)) as engine:
        disk.is_full = True
        landed = fill(engine)
        land(engine, filled(100, 1000, room=2000, may_use_reserve=True))
    with closing(small_lmdb(tmp_path)) as engine:
        assert len(rows(engine, "timeline")) == (landed + 1) * 100
        land(engine, emptied(100))
        assert isinstance(apply(engine, filled(300, 3000, room=3000)), StorageFull)
    with closing(LmdbEngine(tmp_path / "db", [*NAMES, "new"], map_bytes=MIB, reserve_bytes=MIB)) as engine:
        assert rows(engine, "new") == []


def test_store_does_not_begin_on_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    disk.is_full = True
    with pytest.raises(StorageFull, match="a new database needs"):
        small_lmdb(tmp_path)
    disk.is_full = False
    small_lmdb(tmp_path).close()


def test_disk_that_fails_is_not_called_full(
    tmp_path: Path, lmdb_engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch, errno.EIO).is_full = True
    with pytest.raises(StorageFailed, match="Input/output error"):
        lmdb_engine.apply([filled(2000, 1000)])


def test_file_system_without_allocation_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch, errno.EOPNOTSUPP).is_full = True
    with closing(small_lmdb(tmp_path)) as engine:
        land(engine, filled(2000, 1000))
    with closing(small_lmdb(tmp_path)) as engine:
        assert len(rows(engine, "timeline")) == 2000


class FullAtCommit:
    """A file system that copies on write: what was promised does not help, the commit itself finds no room."""

    def __init__(self, engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
        self._data = Path(engine._env.path()) / "data.mdb"
        self._size = self._data.stat().st_size
        self._error = error
        self._apply = engine._apply_group
        monkeypatch.setattr(engine, "_apply_group", self._commit)

    def _commit(self, batches: list[WriteBatch]) -> object:
        if self._data.stat().st_size < self._size:
            return self._apply(batches)
        raise lmdb.Error(f"mdb_txn_commit: {os.strerror(self._error)}")


def test_commit_that_finds_no_room_is_refused(lmdb_engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    FullAtCommit(lmdb_engine, monkeypatch, errno.ENOSPC)
    outcomes = lmdb_engine.apply([filled(1, 1), filled(1, 1, room=2)])
    assert [type(outcome) for outcome in outcomes] == [StorageFull, StorageFull]


def test_reserve_makes_room_for_deletes_where_allocation_does_not(
    lmdb_engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lmdb_engine, filled(1, 1))
    FullAtCommit(lmdb_engine, monkeypatch, errno.EDQUOT)
    land(lmdb_engine, emptied(1))
    assert rows(lmdb_engine, "timeline") == []


def test_commit_that_fails_otherwise_is_the_end(lmdb_engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    FullAtCommit(lmdb_engine, monkeypatch, errno.EIO)
    with pytest.raises(StorageFailed, match="Input/output error"):
        lmdb_engine.apply([filled(1, 1)])


def test_group_too_large_for_one_transaction_lands_batch_by_batch(
    lmdb_engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lmdb_engine._apply_group

    def apply_group(batches: list[WriteBatch]) -> object:
        if sum(len(batch.writes) for batch in batches) > 10:
            raise lmdb.TxnFullError("mdb_put: transaction has too many dirty pages")
        return whole(batches)

    monkeypatch.setattr(lmdb_engine, "_apply_group", apply_group)
    outcomes = lmdb_engine.apply([filled(9, 1), filled(11, 1, room=2), filled(9, 1, room=3)])
    assert [type(outcome) for outcome in outcomes] == [type(None), BatchRefused, type(None)]


def test_promise_is_real_blocks(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    space = FileSpace(path, 0)
    with closing(space):
        assert space.promise(3 * MIB)
        assert path.stat().st_blocks * 512 >= 3 * MIB + STAMP_BYTES
        space.give_back(MIB)
        assert (path.stat().st_size, space.promised) == (MIB + STAMP_BYTES, MIB)
        space.give_back(2 * MIB)
        assert (path.stat().st_size, space.promised) == (MIB + STAMP_BYTES, MIB)


def test_refused_promise_takes_nothing(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    space = FileSpace(path, 0)
    with closing(space):
        disk.is_full = True
        assert not space.promise(MIB)
        assert (path.read_bytes(), space.promised) == (b"x", 0)


def test_directories_are_made_up_to_the_first_that_is_there(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b" / "c")
    make_directory(tmp_path / "a" / "b" / "c")
    assert stat.S_IMODE((tmp_path / "a" / "b" / "c").stat().st_mode) == 0o700
