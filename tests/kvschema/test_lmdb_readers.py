"""A snapshot of a process that was killed does not hold pages for ever."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from kvschema.batch import WriteBatch
from kvschema.engine.lmdb import READERS_MAX, LmdbEngine
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


def test_snapshots_that_are_over_hold_no_slot_even_if_they_are_remembered(tmp_path: Path) -> None:
    with closing(LmdbEngine(tmp_path, NAMES, map_bytes=1 << 20, reserve_bytes=0)) as engine:
        remembered = []
        for _ in range(2 * READERS_MAX):
            with engine.snapshot() as reader:
                remembered.append(reader)
                assert reader.count(TIMELINE.name) == 0
