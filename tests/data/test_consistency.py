"""The consistency check: silent over a healthy store, and it finds everything that is planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from conduit_py.data.consistency import CHECKS, UNCHECKED, check_consistency
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database
from kvschema.catalog import CATALOG
from kvschema.engine import Engine
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.memory import MemoryEngine
from kvschema.migrate import apply_one
from tests.data import (
    plants_in_admin,
    plants_in_appservices,
    plants_in_encryption,
    plants_in_graphs,
    plants_in_indexes,
    plants_in_media,
    plants_in_push,
    plants_in_rooms,
    plants_in_sending,
    plants_in_use,
)
from tests.data.full_store import Rows, fill, make_rows
from tests.data.planting import Planter

PLANTS = {
    **plants_in_encryption.PLANTS,
    **plants_in_rooms.PLANTS,
    **plants_in_use.PLANTS,
    **plants_in_graphs.PLANTS,
    **plants_in_indexes.PLANTS,
    **plants_in_media.PLANTS,
    **plants_in_push.PLANTS,
    **plants_in_sending.PLANTS,
    **plants_in_appservices.PLANTS,
    **plants_in_admin.PLANTS,
}


@pytest.fixture(scope="module")
def rows() -> Rows:
    return make_rows()


@pytest.fixture
def engine(rows: Rows) -> Engine:
    engine = MemoryEngine()
    fill(engine, rows)
    return engine


@pytest.fixture
def files(rows: Rows, tmp_path: Path) -> Iterator[Engine]:
    engine = LmdbEngine(tmp_path / "db", [tree.name for tree in CATALOG], map_bytes=1 << 20, reserve_bytes=0)
    fill(engine, rows)
    yield engine
    engine.close()


def check(engine: Engine) -> list[str]:
    with Database(engine, ObjectCache(1_000_000)).snapshot() as snapshot:
        return list(check_consistency(snapshot))


def corrupt(engine: Engine, plant: Callable[[Planter], None]) -> None:
    with engine.snapshot() as reader:
        planter = Planter(reader)
        plant(planter)
    assert planter.batch
    apply_one(engine, planter.batch)


def is_said(says: str, problem: str) -> bool:
    return fnmatchcase(problem, says.replace("[", "[[]") + "*")


def test_a_healthy_store_has_no_problems(engine: Engine, files: Engine) -> None:
    assert check(engine) == []
    assert check(files) == []


def test_an_empty_store_has_only_no_owner() -> None:
    assert check(MemoryEngine()) == [
        "global: the product is None",
        "global: the schema is None",
        "global: the server has no name",
    ]


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_planted_is_found(engine: Engine, name: str) -> None:
    says, plant = PLANTS[name]
    corrupt(engine, plant)
    problems = check(engine)
    assert any(is_said(says, problem) for problem in problems), problems


def test_every_check_finds_something_that_is_planted(rows: Rows) -> None:
    silent = set(CHECKS)
    for says, plant in PLANTS.values():
        if "cannot be read" in says:
            continue
        engine = MemoryEngine()
        fill(engine, rows)
        corrupt(engine, plant)
        with Database(engine, ObjectCache(0)).snapshot() as snapshot:
            silent -= {check for check in silent if next(check.run(snapshot), None) is not None}
    assert not silent


def test_the_same_is_found_in_files_as_in_memory(engine: Engine, files: Engine) -> None:
    for says, plant in PLANTS.values():
        if "cannot be read" not in says:
            corrupt(engine, plant)
            corrupt(files, plant)
    problems = check(engine)
    assert len(problems) > len(PLANTS)
    assert check(files) == problems
    names = {tree.name for tree in CATALOG}
    assert [problem for problem in problems if problem.partition(": ")[0] not in names] == []


def test_every_tree_is_checked_or_listed_with_a_reason() -> None:
    checked = {check.tree for check in CHECKS}
    assert checked.isdisjoint(UNCHECKED)
    assert checked | UNCHECKED.keys() == {tree.name for tree in CATALOG}


def test_every_derived_tree_is_checked() -> None:
    assert {tree.name for tree in CATALOG if tree.derived} <= {check.tree for check in CHECKS}


def test_the_healthy_store_has_rows_in_every_tree_that_is_checked(rows: Rows) -> None:
    assert {tree.name for tree in CATALOG if not rows[tree.name]} <= UNCHECKED.keys()


def test_what_the_cache_says_hides_nothing(rows: Rows) -> None:
    engine = MemoryEngine()
    fill(engine, rows)
    database = Database(engine, ObjectCache(10_000_000))
    with database.snapshot() as snapshot:
        assert list(check_consistency(snapshot)) == []
    corrupt(engine, PLANTS["an_event_with_another_content"][1])
    with database.snapshot() as snapshot:
        assert list(check_consistency(snapshot)) != []
