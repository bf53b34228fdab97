"""Whose store it is, where its positions go on from, and who else may open it."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import FACTS_MAX, Database, claim_directory, open_database, record_start, stamp
from conduit_py.storage.writer import open_writer
from kvschema.batch import WriteBatch
from kvschema.catalog import CATALOG, SCHEMA_VERSION, server
from kvschema.engine import Engine
from kvschema.engine.memory import MemoryEngine
from kvschema.errors import SchemaMismatch
from kvschema.migrate import apply_one, catalog_specs
from tests.storage.engines import commit, names, put

MIB = 1 << 20


@pytest.fixture
def engine() -> MemoryEngine:
    made = MemoryEngine()
    stamp(made, "one.test")
    return made


def write(engine: Engine, name: str, value: bytes) -> None:
    batch = WriteBatch()
    batch.put(server.GLOBAL, server.ByName(name), value)
    apply_one(engine, batch)


def read(engine: Engine, name: str) -> bytes | None:
    with engine.snapshot() as reader:
        return server.GLOBAL.get(reader, server.ByName(name))


def test_empty_store_is_claimed_and_opens_again(engine: MemoryEngine) -> None:
    assert names(engine) == {"product", "schema", "server_name", "catalog"}
    assert read(engine, "schema") == str(SCHEMA_VERSION).encode()
    stamp(engine, "one.test")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("product", b"other", r"belongs to another product \(other\): set database_path to an empty directory"),
        ("server_name", b"two.test", r"the server 'two.test', and server_name is 'one.test'.*Set server_name back"),
        ("schema", b"999", r"schema 999 and this program knows schemas up to \d+.*Start that version again"),
        ("catalog", b'{"tree of tomorrow":"raw"}', r"tree of tomorrow is unknown.*start that version again"),
        ("catalog", b'{"global":"() -> raw"}', r"tree global was written as \(\) -> raw and is read as"),
    ],
)
def test_store_of_others_is_refused_with_what_to_do(
    engine: MemoryEngine, name: str, value: bytes, sentence: str
) -> None:
    write(engine, name, value)
    before = names(engine)
    with pytest.raises(SchemaMismatch, match=sentence):
        stamp(engine, "one.test")
    assert (names(engine), read(engine, name)) == (before, value)


def test_store_that_lacks_a_tree_learns_it(engine: MemoryEngine) -> None:
    write(engine, "catalog", catalog_specs(CATALOG[1:]))
    stamp(engine, "one.test")
    assert read(engine, "catalog") == catalog_specs()


def test_file_is_opened_again_with_what_it_held(tmp_path: Path) -> None:
    for expected in (None, b"x"):
        with closing(open_database(tmp_path, "one.test", cache_bytes=1, reserve_bytes=MIB).engine) as engine:
            assert read(engine, "kept") == expected
            write(engine, "kept", b"x")


def test_refused_file_is_let_go_of(tmp_path: Path) -> None:
    open_database(tmp_path, "one.test", cache_bytes=1, reserve_bytes=MIB).engine.close()
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match="a server's name can never change"):
            open_database(tmp_path, "two.test", cache_bytes=1, reserve_bytes=MIB)
    open_database(tmp_path, "one.test", cache_bytes=1, reserve_bytes=MIB).engine.close()


def test_second_server_on_a_directory_is_refused(tmp_path: Path) -> None:
    with (
        open(claim_directory(tmp_path / "data")),
        pytest.raises(SchemaMismatch, match=r"another server is running on .*: stop it first"),
    ):
        claim_directory(tmp_path / "data")
    with open(claim_directory(tmp_path / "data")):
        pass


async def handed_out(engine: Engine, now_us: int, commits: int) -> list[int]:
    """A run of the server: the positions of its commits."""
    found = []
    last_pos = record_start(engine, now_us)
    async with open_writer(engine, ObjectCache(1), last_pos=last_pos, threaded=False) as writer:
        for number in range(commits):
            async with writer.turn() as turn:
                put(turn, f"n{number}")
                found.append(turn.take_pos())
    return found


def snapshot_pos(engine: Engine) -> int:
    with Database(engine, ObjectCache(1)).snapshot() as snapshot:
        return snapshot.pos


def lost(engine: Engine, *positions: int) -> list[bool]:
    with Database(engine, ObjectCache(1)).snapshot() as snapshot:
        return [snapshot.is_from_lost_future(pos) for pos in positions]


def test_what_was_found_once_holds_until_something_lands(engine: MemoryEngine) -> None:
    database = Database(engine, ObjectCache(1))
    asked: list[int] = []

    def find() -> int:
        asked.append(len(asked))
        return asked[-1]

    def look() -> int:
        with database.snapshot() as snapshot:
            return snapshot.once("fact", find)

    assert [look(), look()] == [0, 0]
    with database.snapshot() as before:
        apply_one(engine, WriteBatch())
        assert [look(), look(), before.once("fact", find)] == [1, 1, 0]


def test_facts_of_one_version_are_bounded(engine: MemoryEngine) -> None:
    cache = ObjectCache(1)
    with Database(engine, cache).snapshot() as snapshot:
        for number in range(3 * FACTS_MAX):
            assert snapshot.once(number, lambda number=number: -number) == -number  # type: ignore[misc]
        assert len(cache.facts_of(snapshot.version)) <= FACTS_MAX


async def test_positions_go_on_from_the_clock_or_the_stored_one(engine: MemoryEngine) -> None:
    assert await handed_out(engine, 1000, 3) == [1001, 1002, 1003]
    assert await handed_out(engine, 5000, 2) == [5001, 5002]
    assert await handed_out(engine, 200, 2) == [5003, 5004], "a clock that went back"
    assert await handed_out(engine, 5004, 1) == [5005]
    assert snapshot_pos(engine) == 5005


async def test_snapshot_knows_the_last_position_that_landed(engine: MemoryEngine) -> None:
    assert snapshot_pos(engine) == 0
    await handed_out(engine, 1000, 3)
    assert snapshot_pos(engine) == 1003
    async with open_writer(engine, ObjectCache(1), last_pos=2000, threaded=False) as writer:
        await commit(writer, "without a position")
        assert snapshot_pos(engine) == 1003


async def test_positions_of_a_living_history_are_not_lost(engine: MemoryEngine) -> None:
    told = [pos for start in (1000, 5000, 4000, 9000, 9000) for pos in await handed_out(engine, start, 3)]
    assert lost(engine, 0, *told) == [False] * (len(told) + 1)
    assert lost(engine, 1004, 5000, 9000, told[-1] + 1) == [True] * 4


async def test_old_copy_reuses_no_position_and_knows_what_it_lost(tmp_path: Path) -> None:
    database = open_database(tmp_path / "live", "one.test", cache_bytes=1, reserve_bytes=MIB)
    with closing(database.engine) as engine:
        kept = await handed_out(engine, 1000, 3)
    shutil.copytree(tmp_path / "live", tmp_path / "copy")
    with closing(open_database(tmp_path / "live", "one.test", cache_bytes=1, reserve_bytes=MIB).engine) as engine:
        gone = await handed_out(engine, 2000, 3)
        assert lost(engine, *kept, *gone) == [False] * 6
    with closing(open_database(tmp_path / "copy", "one.test", cache_bytes=1, reserve_bytes=MIB).engine) as engine:
        assert lost(engine, *gone) == [True] * 3
        fresh = await handed_out(engine, 3000, 3)
        assert set(fresh).isdisjoint(gone)
        assert lost(engine, *kept, *fresh) == [False] * 6
        assert lost(engine, *gone) == [True] * 3


async def test_starts_without_writes_leave_one_gap(engine: MemoryEngine) -> None:
    await handed_out(engine, 1000, 1)
    for now_us in (2000, 3000, 4000):
        await handed_out(engine, now_us, 0)
    with engine.snapshot() as reader:
        assert list(server.STARTGAP.scan(reader)) == [(server.ByPos(1001), 4000)]
    assert lost(engine, 1001, 1002, 2001, 4000) == [False, True, True, True]


async def test_gaps_of_old_starts_are_pruned(engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STARTGAPS_MAX", 5)
    for start in range(1, 20):
        await handed_out(engine, start * 1000, 1)
    with engine.snapshot() as reader:
        assert reader.count(server.STARTGAP.name) <= 6


def test_snapshot_reads_like_its_engine(engine: MemoryEngine) -> None:
    with Database(engine, ObjectCache(1)).snapshot() as snapshot:
        assert server.GLOBAL.get(snapshot, server.ByName("server_name")) == b"one.test"
        assert snapshot.count("global") == 4
    with pytest.raises(RuntimeError):
        server.GLOBAL.get(snapshot, server.ByName("server_name"))
