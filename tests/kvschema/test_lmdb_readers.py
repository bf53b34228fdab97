"""A snapshot of a process that was killed does not hold pages for ever."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kvschema.batch import WriteBatch
from kvschema.engine.lmdb import READERS_MAX, LmdbEngine
from kvschema.engine.lmdb_file import open_file
from kvschema.errors import SchemaMismatch
from tests.kvschema.sample import NAMES, TIMELINE, Place, land

ROOT = Path(__file__).parents[2]
VALUE = b"x" * 2000
ROWS = 200

_READ_AND_WAIT = """
import sys
from pathlib import Path
from kvschema.engine.lmdb import READERS_MAX, LmdbEngine
engine = LmdbEngine(Path(sys.argv[1]), sys.argv[2:], reserve_bytes=0)
with engine.snapshot():
    print("reading", flush=True)
    sys.stdin.read()
"""


def rewrite(engine: LmdbEngine, times: int) -> None:
    """Replace every row, which frees as many pages as it takes unless somebody reads the old ones."""
    for _ in range(times):
        batch = WriteBatch()
        for number in range(ROWS):
            batch.put(TIMELINE, Place(1, number), VALUE)
        land(engine, batch)


def test_pages_held_by_a_killed_process_are_used_again(tmp_path: Path) -> None:
    with closing(LmdbEngine(tmp_path, NAMES, map_bytes=1 << 20, reserve_bytes=0)) as engine:
        rewrite(engine, 3)
        command = [sys.executable, "-c", _READ_AND_WAIT, str(tmp_path), *NAMES]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"reading\n"
            other.kill()
            other.wait()
        before = engine.map_bytes
        rewrite(engine, 10)
        assert engine.map_bytes > before, "the dead reader holds nothing, so this shows nothing"
        engine.free_dead_readers()
        rewrite(engine, 3)
        held = engine.map_bytes
        rewrite(engine, 30)
        assert engine.map_bytes == held


def test_file_that_took_the_place_of_one_that_is_read_is_refused(tmp_path: Path) -> None:
    """LMDB would begin at its older meta page, where a compacted file has nothing."""
    with closing(LmdbEngine(tmp_path / "db", NAMES, map_bytes=1 << 20, reserve_bytes=0)) as engine:
        rewrite(engine, 3)
    command = [sys.executable, "-c", _READ_AND_WAIT, str(tmp_path / "db"), *NAMES]
    data, compacted = tmp_path / "db" / "data.mdb", tmp_path / "compacted"
    with open_file(data, trees_max=1, is_shared=False) as reader, compacted.open("xb") as file:
        reader.copy_to(file.fileno())
    content = compacted.read_bytes()
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"reading\n"
        compacted.replace(data)
        with pytest.raises(SchemaMismatch, match="still reads the database that was"):
            LmdbEngine(tmp_path / "db", NAMES, reserve_bytes=0)
        assert data.read_bytes() == content
        other.kill()
        other.wait()
    with closing(LmdbEngine(tmp_path / "db", NAMES, reserve_bytes=0)) as engine, engine.snapshot() as reader:
        assert reader.count(TIMELINE.name) == ROWS


def test_snapshots_that_are_over_hold_no_slot_even_if_they_are_remembered(tmp_path: Path) -> None:
    with closing(LmdbEngine(tmp_path, NAMES, map_bytes=1 << 20, reserve_bytes=0)) as engine:
        remembered = []
        for _ in range(2 * READERS_MAX):
            with engine.snapshot() as reader:
                remembered.append(reader)
                assert reader.count(TIMELINE.name) == 0
