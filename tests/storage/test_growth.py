"""The map grows under a running server, and a full disk is a refusal, not an end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, stamp
from conduit_py.storage.writer import Writer, open_writer
from kvschema.catalog import CATALOG, server
from kvschema.engine.lmdb import LmdbEngine
from tests.storage import full_disk
from tests.storage.engines import put

ROOT = Path(__file__).parents[2]
MIB = 1 << 20


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LmdbEngine]:
    names = [tree.name for tree in CATALOG]
    with closing(LmdbEngine(tmp_path / "db", names, map_bytes=MIB, reserve_bytes=MIB)) as made:
        stamp(made, "one.test")
        yield made


class Watched:
    """An LMDB environment whose growth is looked at."""

    def __init__(self, environment: Any, set_mapsize: Callable[[int], None]) -> None:
        self._environment = environment
        self.set_mapsize = set_mapsize

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)


async def test_map_grows_while_others_read(engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers take a snapshot whenever they are let, and always see whole batches."""
    database = Database(engine, ObjectCache(1))
    grown_on: list[threading.Thread] = []
    grow = engine._env.set_mapsize

    def set_mapsize(size: int) -> None:
        grown_on.append(threading.current_thread())
        grow(size)

    monkeypatch.setattr(engine, "_env", Watched(engine._env, set_mapsize))
    reads = 0
    is_done = trio.Event()

    async def read() -> None:
        nonlocal reads
        while not is_done.is_set():
            with database.snapshot() as snapshot:
                counts = [len(server.GLOBAL.get(snapshot, server.ByName(name)) or b"") for name in ("a", "b")]
                rows = list(server.GLOBAL.scan(snapshot))
            assert counts[0] == counts[1]
            assert len(rows) >= 4
            reads += 1
            await trio.lowlevel.checkpoint()

    async def write(writer: Writer, number: int) -> None:
        for step in range(12):
            async with writer.turn() as turn:
                for name in ("a", "b"):
                    put(turn, name, bytes(step + 1))
                put(turn, f"{number} {step}", bytes(50_000))

    async with open_writer(engine, database.cache, last_pos=0, threaded=True) as writer, trio.open_nursery() as readers:
        for _ in range(3):
            readers.start_soon(read)
        async with trio.open_nursery() as writers:
            for number in range(10):
                writers.start_soon(write, writer, number)
        is_done.set()
    assert len(grown_on) > 3
    assert set(grown_on) == {threading.current_thread()}, "the map was replaced beside a reader"
    assert reads > 10
    with database.snapshot() as snapshot:
        assert snapshot.count("global") == 4 + 2 + 120


async def test_engine_grows_in_place_once_the_writer_ended(engine: LmdbEngine) -> None:
    async with open_writer(engine, ObjectCache(1), last_pos=0, threaded=True):
        pass
    before = engine.map_bytes
    async with open_writer(engine, ObjectCache(1), last_pos=0, threaded=False) as writer, writer.turn() as turn:
        for number in range(40):
            put(turn, f"n{number}", bytes(50_000))
    assert engine.map_bytes > before


async def test_interpreter_is_shared_finely_while_the_writer_runs(engine: LmdbEngine) -> None:
    before = sys.getswitchinterval()
    async with open_writer(engine, ObjectCache(1), last_pos=0, threaded=True) as writer:
        async with writer.turn() as turn:
            put(turn, "a")
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before


def run_full_disk(arguments: list[str], *, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", full_disk.__name__, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )


def test_store_survives_its_file_size_limit(tmp_path: Path) -> None:
    done = run_full_disk(["limit", str(tmp_path)])
    assert done.returncode == 0, done.stdout


def test_store_survives_a_full_disk(tmp_path: Path) -> None:
    private = ("unshare", "--mount", "--map-root-user")
    try:
        can_mount = subprocess.run([*private, "mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], check=False)
    except FileNotFoundError:
        pytest.skip("no unshare here: the test with a file size limit stands in")
    if can_mount.returncode:
        pytest.skip("no mounts of our own here: the test with a file size limit stands in")
    done = run_full_disk(["mount", str(tmp_path)], prefix=private)
    assert done.returncode == 0, done.stdout
