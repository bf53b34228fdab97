"""The walk over a file's pages: silent over what LMDB writes, and it finds what LMDB would crash on."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from kvschema.engine.lmdb_file import open_file
from kvschema.engine.pages import Damaged, read_metas, walk_pages
from tests.kvschema.conftest import small_lmdb
from tests.kvschema.sample import NAMES
from tests.rig.process import ROOT

PAGE = 4096
TREES = (b"fruit", b"nuts")
SIZES = (0, 10, 100, 100, 100, 1000, 1000, 5000, 9000)

READ_ALL = """
import sys, lmdb
with lmdb.open(sys.argv[1], subdir=False, readonly=True, lock=False, max_dbs=4) as environment:
    with environment.begin() as transaction:
        for name in (b"fruit", b"nuts"):
            tree = environment.open_db(name, txn=transaction, create=False)
            with transaction.cursor(db=tree) as cursor:
                rows = list(cursor)
            assert all(transaction.get(key, db=tree) == value for key, value in rows)
"""


def write_garden(path: Path, seed: int, *, transactions: int = 60) -> None:
    """Rows of every size that come and go, so that there are free pages and every depth."""
    chance = random.Random(seed)
    path.mkdir()
    with lmdb.open(str(path), max_dbs=4, map_size=1 << 30, metasync=True) as environment:
        trees = [environment.open_db(name) for name in TREES]
        known: list[tuple[int, bytes]] = []
        for _ in range(transactions):
            with environment.begin(write=True) as transaction:
                for _ in range(chance.randrange(1, 60)):
                    if known and chance.random() < 0.3:
                        place, key = known.pop(chance.randrange(len(known)))
                        transaction.delete(key, db=trees[place])
                    else:
                        place, key = chance.randrange(2), chance.randbytes(chance.choice((1, 8, 9, 40, 400)))
                        known.append((place, key))
                        transaction.put(key, chance.randbytes(chance.choice(SIZES)), db=trees[place])


def walk(data: Path) -> list[str]:
    try:
        meta = max(read_metas(data), key=lambda meta: meta.transaction)
        return list(walk_pages(data, meta))
    except Damaged as damage:
        return [str(damage)]


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("pages") / "garden"
    write_garden(path, 1)
    return (path / "data.mdb").read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_what_lmdb_writes_passes(tmp_path: Path, seed: int) -> None:
    write_garden(tmp_path / "garden", seed)
    assert walk(tmp_path / "garden" / "data.mdb") == []
    (tmp_path / "copy").mkdir()
    with lmdb.open(str(tmp_path / "garden"), max_dbs=4) as environment:
        environment.copy(str(tmp_path / "copy"), compact=True)
    assert walk(tmp_path / "copy" / "data.mdb") == []


def test_new_store_passes(tmp_path: Path) -> None:
    small_lmdb(tmp_path).close()
    assert walk(tmp_path / "db" / "data.mdb") == []


def test_progress_ends_with_what_is_used(tmp_path: Path) -> None:
    data = tmp_path / "garden" / "data.mdb"
    write_garden(data.parent, 2)
    told: list[tuple[int, int]] = []
    meta = max(read_metas(data), key=lambda meta: meta.transaction)
    assert list(walk_pages(data, meta, lambda done, total: told.append((done, total)))) == []
    assert told == sorted(told)
    assert all(done <= total == meta.last_page for done, total in told)


def test_file_of_something_else_is_none(tmp_path: Path) -> None:
    data = tmp_path / "data.mdb"
    for content in (b"", b"short", b"not a database" * 1000, bytes(2 * PAGE)):
        data.write_bytes(content)
        (problem,) = walk(data)
        assert "meta page" in problem


def pages_of(raw: bytes, kind: int) -> Iterator[int]:
    for number in range(2, len(raw) // PAGE):
        page, _, flags = struct.unpack_from("<QHH", raw, number * PAGE)
        if (page, flags) == (number, kind):
            yield number


def put(raw: bytes, at: int, patch: bytes) -> bytes:
    return raw[:at] + patch + raw[at + len(patch) :]


def damage(raw: bytes, chance: random.Random) -> bytes:
    """One of the ways in which copies and disks go wrong."""
    used = [number for kind in (1, 2, 4) for number in pages_of(raw, kind)]
    number = chance.choice(used)
    page = raw[number * PAGE : (number + 1) * PAGE]
    other = chance.choice(used)
    match chance.randrange(6):
        case 0:
            return put(raw, number * PAGE, bytes(PAGE))
        case 1:
            return put(raw, number * PAGE, raw[other * PAGE : (other + 1) * PAGE])
        case 2:
            return put(raw, number * PAGE, chance.randbytes(PAGE))
        case 3:
            at = chance.randrange(10, 200)
            return put(raw, number * PAGE + at, bytes([page[at] ^ 1 << chance.randrange(8)]))
        case 4:
            at = chance.randrange(2) * PAGE + chance.randrange(16, 170)
            return put(raw, at, bytes([raw[at] ^ 1 << chance.randrange(8)]))
        case _:
            return raw[: chance.randrange(len(raw) // PAGE) * PAGE + chance.randrange(PAGE)]


def test_what_passes_can_be_read(tmp_path: Path, garden: bytes) -> None:
    """Whatever is done to a file, the walk finds it, or LMDB reads every row without a crash."""
    chance = random.Random(3)
    data = tmp_path / "data.mdb"
    silent = 0
    for _ in range(300):
        data.write_bytes(damage(garden, chance))
        if walk(data):
            continue
        silent += 1
        if silent <= 12:
            read = subprocess.run([sys.executable, "-c", READ_ALL, str(data)], capture_output=True, check=False)
            assert read.returncode == 0, read.stderr
    # Most flips in what is read by nobody but us are harmless.
    assert silent < 150


def leaf_of(raw: bytes) -> int:
    """The start of a leaf with several nodes."""
    for number in pages_of(raw, 2):
        (lower,) = struct.unpack_from("<H", raw, number * PAGE + 12)
        if lower >= 16 + 2 * 4:
            return number * PAGE
    raise AssertionError


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file whose every page is used."""
    path = tmp_path_factory.mktemp("pages")
    write_garden(path / "garden", 1)
    (path / "copy").mkdir()
    with lmdb.open(str(path / "garden"), max_dbs=4) as environment:
        environment.copy(str(path / "copy"), compact=True)
    return (path / "copy" / "data.mdb").read_bytes()


def test_keys_out_of_order_are_found(tmp_path: Path, dense: bytes) -> None:
    start = leaf_of(dense)
    first, second = dense[start + 16 : start + 18], dense[start + 18 : start + 20]
    (tmp_path / "data.mdb").write_bytes(put(dense, start + 16, second + first))
    assert any("has keys out of order" in problem for problem in walk(tmp_path / "data.mdb"))


def test_row_that_is_gone_is_missed(tmp_path: Path, dense: bytes) -> None:
    start = leaf_of(dense)
    (lower,) = struct.unpack_from("<H", dense, start + 12)
    (tmp_path / "data.mdb").write_bytes(put(dense, start + 12, struct.pack("<H", lower - 2)))
    problems = walk(tmp_path / "data.mdb")
    assert any("has nodes that overlap" in problem for problem in problems)
    assert any("are noted" in problem for problem in problems)


def test_page_that_is_used_and_free_is_found(tmp_path: Path) -> None:
    """LMDB itself would give the page to the next write."""
    path = tmp_path / "garden"
    write_garden(path, 5)
    raw = (path / "data.mdb").read_bytes()
    meta = max(read_metas(path / "data.mdb"), key=lambda meta: meta.transaction)
    # The last node of the last leaf of the list of free pages: what was freed last.
    start = next(number for number in pages_of(raw, 2) if number == meta.free.root) * PAGE
    (lower,) = struct.unpack_from("<H", raw, start + 12)
    (offset,) = struct.unpack_from("<H", raw, start + lower - 2)
    (count,) = struct.unpack_from("<Q", raw, start + offset + 16)
    assert count
    (path / "data.mdb").write_bytes(put(raw, start + offset + 24, struct.pack("<Q", meta.main.root)))
    problems = walk(path / "data.mdb")
    assert any(f"page {meta.main.root} is free as well" in problem for problem in problems) or any(
        "out of order" in problem for problem in problems
    )


WRITE_ON = """
import sys
from pathlib import Path
from kvschema.batch import WriteBatch
from tests.kvschema.conftest import small_lmdb
from tests.kvschema.sample import NAMES
from tests.rig.process import ROOT
from tests.kvschema.sample import TIMELINE, Place, land
engine = small_lmdb(Path(sys.argv[1]))
for number in range(1_000_000):
    batch = WriteBatch()
    for pos in range(500):
        batch.put(TIMELINE, Place(1, pos), number.to_bytes(4, "big") * 700)
    land(engine, batch)
    print(number, flush=True)
"""


def test_walk_beside_a_writer_sees_its_own_transaction(tmp_path: Path) -> None:
    """What the writer frees meanwhile is not written over."""
    with subprocess.Popen([sys.executable, "-c", WRITE_ON, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        try:
            for _ in range(5):
                writer.stdout.readline()
                with open_file(tmp_path / "db" / "data.mdb", trees_max=9, is_shared=True) as reader:
                    for _ in range(3):
                        writer.stdout.readline()
                    assert list(reader.check_pages(lambda done, total: None)) == []
                    reader.open_trees(NAMES)
                    assert reader.count("timeline") == 500
                    assert len({value for _, value in reader.scan("timeline", b"", b"", b"", False)}) == 1
        finally:
            writer.kill()


def test_file_that_nobody_writes_to_is_left_as_it_is(tmp_path: Path, garden: bytes) -> None:
    data = tmp_path / "data.mdb"
    data.write_bytes(garden)
    with open_file(data, trees_max=4, is_shared=False) as reader:
        assert list(reader.check_pages(lambda done, total: None)) == []
        reader.open_trees(["fruit", "missing"])
        assert reader.count("fruit")
        assert (reader.count("missing"), reader.get("missing", b"x")) == (0, None)
        assert list(reader.scan("missing", b"", b"", b"", False)) == []
    assert [path.name for path in tmp_path.iterdir()] == ["data.mdb"]
