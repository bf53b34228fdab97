"""A copy of the file that is made while it is written to: whole as long as promised, and known to be torn beyond."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kvschema.batch import WriteBatch
from kvschema.engine import pins as pins_module
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.pins import PINS_MAX, CopyPromise
from kvschema.engine.stamp import STAMP_BYTES, UNPINNED, Stamp, Torn, append_stamp, check_whole, read_stamp
from tests.kvschema.sample import NAMES, TIMELINE, Place, land
from tests.kvschema.test_lmdb_engine import Disk, fill

MIB = 1 << 20
ROWS = 200
SECONDS = 24


class Clock:
    """Stands still unless it is told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Store:
    """An engine whose rows all say which round of writing they are of."""

    def __init__(self, path: Path, *, is_pinned: bool = True, growth_bytes: int = 1 << 40) -> None:
        self.clock = Clock()
        self._marks = 0
        self.cuts: list[tuple[str, float]] = []
        promise = CopyPromise(SECONDS, growth_bytes, self.clock, self._make_mark, self._note_cut)
        self.path = path / "data.mdb"
        self.engine = LmdbEngine(path, NAMES, map_bytes=MIB, reserve_bytes=MIB, copies=promise if is_pinned else None)
        self.round = 0

    def _note_cut(self, why: str, seconds: float) -> None:
        self.cuts.append((why, seconds))

    def _make_mark(self) -> str:
        self._marks += 1
        return f"{self._marks:016}"

    def write(self, rounds: int = 1) -> None:
        """Replace every row, once a round."""
        for _ in range(rounds):
            self.round += 1
            batch = WriteBatch()
            for number in range(ROWS):
                batch.put(TIMELINE, Place(1, number), self.round.to_bytes(4, "big") * 500)
            land(self.engine, batch)

    @property
    def floor(self) -> int:
        with self.path.open("rb") as file:
            stamp = read_stamp(file.fileno())
        assert stamp is not None
        return stamp.floor


class Copier:
    """Reads a file from its beginning to its end, and can be stopped anywhere."""

    def __init__(self, source: Path, destination: Path) -> None:
        destination.mkdir()
        self.path = destination / "data.mdb"
        self._source, self._copy = source.open("rb", buffering=0), self.path.open("wb")

    def copy(self, size: int = 1 << 40) -> None:
        while size > 0 and (chunk := self._source.read(min(size, 64 * 1024))):
            self._copy.write(chunk)
            size -= len(chunk)
        self._copy.flush()

    def finish(self) -> None:
        self.copy()
        self.stop()

    def stop(self) -> None:
        self._source.close()
        self._copy.close()


def rounds_in(copy: Path) -> set[bytes]:
    """What the rows of a copy say, read in a process of its own, which a torn copy can end."""
    script = (
        "import sys, lmdb\n"
        "with lmdb.open(sys.argv[1], max_dbs=9, map_size=1 << 30, readonly=True, lock=False) as environment:\n"
        "    tree = environment.open_db(b'timeline', create=False)\n"
        "    with environment.begin() as transaction:\n"
        "        values = [value for _, value in transaction.cursor(tree)]\n"
        f"assert len(values) == {ROWS}, len(values)\n"
        "assert all(value == value[:4] * 500 for value in values)\n"
        "print(*{value[:4].hex() for value in values})"
    )
    done = subprocess.run([sys.executable, "-c", script, copy.parent], capture_output=True, text=True, check=False)
    return {bytes.fromhex(word) for word in done.stdout.split()} if done.returncode == 0 else set()


def is_whole(copy: Path, round_number: int) -> bool:
    return rounds_in(copy) == {round_number.to_bytes(4, "big")}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "db")
    with closing(made.engine):
        yield made


def test_copy_is_whole_however_much_is_written_meanwhile(store: Store, tmp_path: Path) -> None:
    store.write(5)
    copier = Copier(store.path, tmp_path / "copy")
    copier.copy(MIB // 2)
    store.write(20)
    copier.finish()
    check_whole(copier.path)
    assert is_whole(copier.path, 5)


def test_copy_without_pins_is_torn(tmp_path: Path) -> None:
    """So the test above shows something."""
    store = Store(tmp_path / "db", is_pinned=False)
    with closing(store.engine):
        store.write(5)
        copier = Copier(store.path, tmp_path / "copy")
        copier.copy(MIB // 2)
        store.write(20)
        copier.finish()
    assert not is_whole(copier.path, 5)
    stamp = check_whole(copier.path)
    assert stamp is not None
    assert stamp.floor == UNPINNED, "nothing is known of it"


def test_pins_outlive_larger_maps(store: Store, tmp_path: Path) -> None:
    store.write(5)
    copier = Copier(store.path, tmp_path / "copy")
    copier.copy(MIB // 2)
    before, floor = store.engine.map_bytes, store.floor
    for room in range(2, 12):
        batch = WriteBatch()
        for number in range(200):
            batch.put(TIMELINE, Place(room, number), bytes(3000))
            if number < 50:
                batch.delete(TIMELINE, Place(room - 1, number + 100)) if room > 2 else None
        land(store.engine, batch)
    store.write(10)
    assert store.engine.map_bytes > 2 * before
    assert store.floor == floor
    assert store.cuts == []
    copier.finish()
    check_whole(copier.path)


def test_transaction_that_is_pinned_is_whole_in_the_file_after_the_map_grew(store: Store, tmp_path: Path) -> None:
    """The pages as they are now, with the meta pages as they were when the pin was opened."""
    store.write(3)
    metas = store.path.read_bytes()[:8192]
    for _ in range(3):
        store.write(10)
        store.engine._set_map(store.engine.map_bytes * 3 // 2)
    later = tmp_path / "later" / "data.mdb"
    later.parent.mkdir()
    later.write_bytes(metas + store.path.read_bytes()[8192:])
    assert is_whole(later, 3)
    check_whole(later)
    assert store.cuts == []


def test_pins_that_cannot_be_found_again_raise_the_floor(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a version of LMDB that has another table of readers."""
    store.write(3)
    copier = Copier(store.path, tmp_path / "copy")
    copier.copy(MIB // 2)
    store.write(3)
    monkeypatch.setattr(pins_module, "_ROW", struct.Struct("=QI4084x"))
    floor = store.floor
    store.engine._set_map(store.engine.map_bytes * 2)
    assert store.floor > floor
    assert store.cuts == [("the memory map was replaced", 0)]
    store.write(3)
    copier.finish()
    with pytest.raises(Torn, match="went on writing"):
        check_whole(copier.path)


@pytest.mark.parametrize(("seconds", "expected"), [(SECONDS - 1, True), (SECONDS * 3 // 2, False)])
def test_copy_is_whole_as_long_as_promised_and_known_to_be_torn_after(
    store: Store, tmp_path: Path, seconds: int, expected: bool
) -> None:
    store.clock.now_s += SECONDS / 2
    store.write(3)
    copier = Copier(store.path, tmp_path / "copy")
    copier.copy(MIB // 2)
    for _ in range(seconds):
        store.clock.now_s += 1
        store.write()
    copier.finish()
    if expected:
        check_whole(copier.path)
        assert is_whole(copier.path, 3)
    else:
        with pytest.raises(Torn, match="went on writing"):
            check_whole(copier.path)
    assert store.cuts == []


def test_file_grows_no_more_than_what_pins_hold(store: Store) -> None:
    sizes = []
    for _ in range(6):
        for _ in range(8):
            store.clock.now_s += SECONDS / 8
            store.write()
        sizes.append(store.engine.map_bytes)
    assert sizes[2] > MIB
    assert sizes[-1] == sizes[-3], "what was let go is used again"


def test_number_of_pins_is_bounded_and_the_oldest_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins_module, "STEP_TRANSACTIONS", 1)
    store.write()
    floor = store.floor
    for number in range(PINS_MAX * 3):
        batch = WriteBatch()
        batch.put(TIMELINE, Place(2, 1), number.to_bytes(8, "big"))
        land(store.engine, batch)
    assert store.engine._pins is not None
    held = [pin.version for pin in store.engine._pins._held]
    assert 1 < len(held) <= PINS_MAX
    assert held[0] == store.floor == floor
    assert held == sorted(set(held))


def test_writing_more_than_promised_lets_go_early_and_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", growth_bytes=12 * MIB)
    with closing(store.engine):
        store.write(3)
        copier, short = (Copier(store.path, tmp_path / name) for name in ("copy", "short"))
        copier.copy(MIB // 2)
        for _ in range(10):
            store.clock.now_s += 0.5
            store.write()
        short.copy(MIB // 2)
        for _ in range(10):
            store.clock.now_s += 0.5
            store.write()
        short.finish()
        assert store.cuts == []
        for _ in range(30):
            store.clock.now_s += 0.5
            store.write()
        assert store.engine.map_bytes <= 18 * MIB
        assert {why for why, _ in store.cuts} == {"so much was written"}
        assert all(4 < seconds < SECONDS for _, seconds in store.cuts)
        copier.finish()
        check_whole(short.path)
        assert is_whole(short.path, 13)
        with pytest.raises(Torn, match="went on writing"):
            check_whole(copier.path)


def test_full_disk_lets_go_before_anything_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(3)
    disk = Disk(monkeypatch)
    disk.is_full = True
    copier = Copier(store.path, tmp_path / "copy")
    copier.copy(MIB // 2)
    store.write(50)
    copier.finish()
    assert ("the disk is full", 0) in store.cuts
    with pytest.raises(Torn, match="went on writing"):
        check_whole(copier.path)


def test_full_disk_with_pins_is_as_useful_as_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    landed = []
    for is_pinned in (False, True):
        store = Store(tmp_path / f"db {is_pinned}", is_pinned=is_pinned)
        with closing(store.engine), monkeypatch.context() as patch:
            store.write(2)
            Disk(patch).is_full = True
            landed.append(fill(store.engine))
    assert landed[1] >= landed[0] - 1


@pytest.mark.parametrize("part", [2, 20])
def test_copy_whose_end_is_missing_is_known(store: Store, tmp_path: Path, part: int) -> None:
    store.write(3)
    copier = Copier(store.path, tmp_path / "copy")
    copier.copy(store.path.stat().st_size * (part - 1) // part)
    copier.stop()
    with pytest.raises(Torn, match="its end is missing"):
        check_whole(copier.path)


def test_file_that_grows_has_one_stamp_and_it_is_the_last_page(store: Store, tmp_path: Path) -> None:
    """A program that copies as many bytes as the file had when it began gets a copy without a stamp."""
    store.write()
    size = store.path.stat().st_size
    store.engine._grow(8 * MIB)
    content = store.path.read_bytes()
    assert len(content) > size
    assert content.count(b"conduit_py stamp") == 1
    assert content.rindex(b"conduit_py stamp") == len(content) - STAMP_BYTES


def test_copier_that_comes_by_while_the_file_becomes_longer_finds_a_stamp(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(3)
    seen: list[Path] = []
    allocate = os.posix_fallocate

    def look_and_allocate(descriptor: int, offset: int, length: int) -> None:
        copier = Copier(store.path, tmp_path / f"copy {len(seen)}")
        copier.finish()
        seen.append(copier.path)
        allocate(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", look_and_allocate)
    store.engine._grow(4 * MIB)
    assert seen
    for path in seen:
        check_whole(path)


def test_copy_of_a_store_that_was_closed_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    with closing(store.engine):
        store.write(7)
    copier = Copier(store.path, tmp_path / "copy")
    copier.finish()
    check_whole(copier.path)
    assert is_whole(copier.path, 7)


def test_copy_that_goes_on_over_a_restart_is_torn_if_anything_was_written_before(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    with closing(store.engine):
        store.write(3)
        copier = Copier(store.path, tmp_path / "copy")
        copier.copy(MIB // 2)
        store.write()
    with closing(Store(tmp_path / "db").engine):
        copier.finish()
    with pytest.raises(Torn):
        check_whole(copier.path)


def test_what_lmdb_wrote_itself_may_be_whole(store: Store, tmp_path: Path) -> None:
    store.write(3)
    (tmp_path / "copy").mkdir()
    store.engine._env.copy(str(tmp_path / "copy"), compact=True)
    path = tmp_path / "copy" / "data.mdb"
    assert check_whole(path) is None
    append_stamp(path, Stamp(floor=0))
    assert check_whole(path) == Stamp(floor=0)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(Torn):
        check_whole(path)


def test_stamped_file_that_is_smaller_than_the_map_loses_no_page_to_its_stamp(tmp_path: Path) -> None:
    """As with a compacted copy that is opened with the map that a new database begins with."""
    store = Store(tmp_path / "db")
    with closing(store.engine):
        store.write(3)
        (tmp_path / "copy").mkdir()
        store.engine._env.copy(str(tmp_path / "copy"), compact=True)
    append_stamp(tmp_path / "copy" / "data.mdb", Stamp(floor=0))
    with closing(LmdbEngine(tmp_path / "copy", NAMES, map_bytes=8 * MIB, reserve_bytes=MIB)) as engine:
        content = (tmp_path / "copy" / "data.mdb").read_bytes()
        assert content.count(b"conduit_py stamp") == 1
        assert engine.map_bytes == 8 * MIB
    assert is_whole(tmp_path / "copy" / "data.mdb", 3)
