"""A file is told from its copies, whichever way they came into its place."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kvschema.batch import WriteBatch
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.ownership import CHANGE_S, is_copy
from kvschema.engine.pins import CopyPromise
from kvschema.engine.stamp import STAMP_BYTES, Stamp, append_stamp, read_stamp
from kvschema.errors import SchemaMismatch
from tests.kvschema.sample import NAMED, NAMES, Name, land, rows

MIB = 1 << 20
DATA = "data.mdb"


class Home:
    """A directory in which engines are opened one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path / "db"
        self.now_s = 0.0
        self._marks = itertools.count(1)

    def open(self) -> closing[LmdbEngine]:
        promise = CopyPromise(60, 1 << 30, lambda: self.now_s, lambda: f"{next(self._marks):016}")
        return closing(LmdbEngine(self.path, NAMES, map_bytes=MIB, reserve_bytes=MIB, copies=promise))

    def write(self) -> None:
        with self.open() as engine:
            put(engine)

    @property
    def is_copy(self) -> bool:
        return is_copy(self.path / DATA)

    @property
    def markers(self) -> list[str]:
        return sorted(path.name for path in self.path.glob("own-*"))


def put(engine: LmdbEngine) -> None:
    batch = WriteBatch()
    batch.put(NAMED, Name("a"), "A")
    land(engine, batch)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_file_is_nobodys_copy_from_its_first_moment_on(home: Home) -> None:
    assert not home.is_copy
    for _ in range(2):
        with home.open() as engine:
            assert not engine.is_copy
            assert not home.is_copy
            put(engine)
            assert not home.is_copy
        assert not home.is_copy
        assert len(home.markers) == 1


def test_copy_elsewhere_is_one_until_it_is_made_somebodys_own(home: Home, tmp_path: Path) -> None:
    home.write()
    other = Home(tmp_path / "other")
    shutil.copytree(home.path, other.path)
    for _ in range(2):
        assert other.is_copy
        with other.open() as engine:
            assert engine.is_copy
            put(engine)
    with other.open() as engine:
        engine.make_own()
        assert not engine.is_copy
    assert not other.is_copy
    assert len(other.markers) == 1
    assert not home.is_copy


def test_copy_that_was_put_in_place_of_the_original_is_one(home: Home, tmp_path: Path) -> None:
    home.write()
    shutil.copytree(home.path, tmp_path / "copy")
    shutil.rmtree(home.path)
    shutil.copytree(tmp_path / "copy", home.path)
    assert home.is_copy


def write_over(source: Path, destination: Path) -> None:
    """As ``cp -r source/. destination`` does: into the files that are there."""
    for path in source.iterdir():
        with (destination / path.name).open("wb") as file:
            file.write(path.read_bytes())


@pytest.mark.parametrize("has_died", [False, True])
def test_copy_that_was_written_into_the_original_is_one(home: Home, tmp_path: Path, has_died: bool) -> None:
    home.write()
    inode = (home.path / DATA).stat().st_ino
    with home.open() as engine:
        put(engine)
        shutil.copytree(home.path, tmp_path / "copy")
        home.now_s += CHANGE_S
        put(engine)
        shutil.copytree(home.path, tmp_path / "dead")
    if has_died:
        shutil.rmtree(tmp_path / "dead")
    write_over(tmp_path / "copy", home.path)
    assert (home.path / DATA).stat().st_ino == inode
    assert home.is_copy
    with home.open() as engine:
        engine.make_own()
    assert not home.is_copy


def test_server_that_dies_has_had_another_mark_an_hour_ago(home: Home, tmp_path: Path) -> None:
    home.write()
    with home.open() as engine:
        put(engine)
        before = home.markers
        home.now_s += CHANGE_S - 1
        put(engine)
        assert home.markers == before
        home.now_s += 1
        put(engine)
        assert home.markers != before
        assert len(home.markers) == 1
        assert not home.is_copy


def test_snapshot_that_was_written_into_the_file_is_a_copy(home: Home, tmp_path: Path) -> None:
    with home.open() as engine:
        put(engine)
        engine._env.copy(str(tmp_path), compact=True)
    append_stamp(tmp_path / DATA, Stamp(floor=0))
    with (home.path / DATA).open("wb") as file:
        file.write((tmp_path / DATA).read_bytes())
    assert home.is_copy
    with home.open() as engine:
        assert engine.is_copy
        assert len(rows(engine, "named")) == 1


def test_own_file_that_lost_its_stamp_in_a_power_cut_is_own(home: Home) -> None:
    home.write()
    with (home.path / DATA).open("r+b") as file:
        file.seek(-STAMP_BYTES, os.SEEK_END)
        file.write(bytes(STAMP_BYTES))
    assert not home.is_copy
    LmdbEngine(home.path, NAMES, map_bytes=MIB, reserve_bytes=MIB).close()
    assert not home.is_copy, "a tool that opens it does not make it a copy"
    home.write()
    assert not home.is_copy


def states_of_a_change(home: Home) -> list[Callable[[], None]]:
    """What a power cut during a change of the mark can leave, with the old marker, with both, with the new one."""
    with home.open() as engine:
        put(engine)
        (old,) = home.markers
        home.now_s += CHANGE_S
        put(engine)
        (new,) = home.markers
        with (home.path / DATA).open("rb") as file:
            stamp = read_stamp(file.fileno())
        content = (home.path / DATA).read_bytes()
    assert stamp is not None
    assert (stamp.mark, stamp.mark_before) == (new.rpartition("-")[2], old.rpartition("-")[2])

    def leave(*names: str) -> Callable[[], None]:
        def write() -> None:
            for path in home.path.glob("own-*"):
                path.unlink()
            for name in names:
                (home.path / name).touch()
            with (home.path / DATA).open("r+b") as file:
                file.write(content)

        return write

    return [leave(old), leave(old, new), leave(new)]


@pytest.mark.parametrize("number", range(3))
def test_power_cut_during_a_change_leaves_no_copy(home: Home, number: int) -> None:
    states_of_a_change(home)[number]()
    assert not home.is_copy
    with home.open() as engine:
        assert not engine.is_copy
    assert not home.is_copy
    assert len(home.markers) == 1


def test_full_disk_leaves_the_mark_as_it_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write()
    opened = os.open

    def refuse(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if "own-" in str(path):
            raise OSError(errno.ENOSPC, "full")
        return opened(path, flags, mode)

    for _ in range(2):
        before = home.markers
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            home.write()
        assert home.markers == before
        assert not home.is_copy


@pytest.mark.parametrize("size", [0, 8192])
def test_file_with_nothing_in_it_is_no_copy(home: Home, size: int) -> None:
    """Left by whoever died while making it."""
    with open_without_trees(home.path):
        pass
    with (home.path / DATA).open("r+b") as file:
        file.truncate(size)
    assert not home.is_copy
    home.write()
    assert not home.is_copy


def open_without_trees(path: Path) -> closing[LmdbEngine]:
    return closing(LmdbEngine(path, (), map_bytes=MIB, reserve_bytes=0))


def test_tool_that_opens_a_file_changes_nothing_about_whose_it_is(home: Home, tmp_path: Path) -> None:
    home.write()
    copy = Home(tmp_path / "other")
    shutil.copytree(home.path, copy.path)
    for place, expected in ((home, False), (copy, True)):
        LmdbEngine(place.path, NAMES, map_bytes=MIB, reserve_bytes=MIB).close()
        assert place.is_copy is expected


def test_torn_copy_is_opened_by_nobody(home: Home, tmp_path: Path) -> None:
    home.write()
    copy = Home(tmp_path / "other")
    shutil.copytree(home.path, copy.path)
    with (copy.path / DATA).open("r+b") as file:
        file.truncate(1_500_000)
    before = (copy.path / DATA).read_bytes()
    with pytest.raises(SchemaMismatch, match="a copy that is not whole: its end is missing"):
        LmdbEngine(copy.path, NAMES, map_bytes=MIB, reserve_bytes=MIB)
    assert (copy.path / DATA).read_bytes() == before


def test_file_stays_ones_own_when_the_system_numbers_its_disks_anew(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write()
    if not os.statvfs(home.path).f_fsid:
        pytest.skip("this file system has no number of its own")
    look = os.fstat

    def look_after_reboot(descriptor: int) -> os.stat_result:
        found = list(look(descriptor))
        found[2] += 1
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", look_after_reboot)
    assert not home.is_copy


def test_copy_that_has_nothing_in_it_is_refused(home: Home, tmp_path: Path) -> None:
    """As a full disk leaves it: a server must not begin anew there."""
    home.write()
    other = Home(tmp_path / "other")
    shutil.copytree(home.path, other.path)
    os.truncate(other.path / DATA, 0)
    with pytest.raises(SchemaMismatch, match="it is empty: whatever copied it was interrupted"):
        other.open()
    assert (other.path / DATA).stat().st_size == 0


def test_copy_without_the_file_itself_is_no_new_database(home: Home, tmp_path: Path) -> None:
    home.write()
    other = Home(tmp_path / "other")
    shutil.copytree(home.path, other.path)
    (other.path / DATA).unlink()
    with pytest.raises(SchemaMismatch, match="it is missing: whatever copied it was interrupted"):
        other.open()
    assert not (other.path / DATA).exists()
