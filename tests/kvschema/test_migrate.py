"""From an older file to the current schema, once, in order, whatever interrupts it."""

from __future__ import annotations

from typing import NamedTuple

import orjson
import pytest

from kvschema.batch import WriteBatch
from kvschema.catalog import CATALOG, server
from kvschema.codec import COUNT, TEXT, U64, Key, Text, record
from kvschema.engine import Engine
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.memory import MemoryEngine
from kvschema.errors import SchemaMismatch, StorageFull
from kvschema.migrate import Step, apply_one, catalog_specs, check_catalog, migrate
from kvschema.tree import Tree


class ByNumber(NamedTuple):
    number: int


class ByText(NamedTuple):
    text: str


class Person(NamedTuple):
    name: str
    age: int = 0


AGES: Tree[ByText, int] = Tree("ages", Key(ByText, (Text(),)), COUNT, since=1, doc="x", bound="x")
PEOPLE: Tree[ByText, Person] = Tree("people", Key(ByText, (Text(),)), record(Person), since=2, doc="x", bound="x")


def stored(engine: Engine, name: str) -> bytes | None:
    with engine.snapshot() as reader:
        return server.GLOBAL.get(reader, server.ByName(name))


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


def test_steps_run_in_order_and_each_is_stamped(engine: MemoryEngine) -> None:
    seen = []

    def step(version: int) -> Step:
        return lambda engine: seen.append((version, stored(engine, "schema")))

    told: list[int] = []
    migrate(engine, 1, steps={n: step(n) for n in (2, 3, 4)}, current=4, on_step=told.append)
    assert seen == [(2, None), (3, b"2"), (4, b"3")]
    assert stored(engine, "schema") == b"4"
    assert told == [2, 3, 4]


def test_current_store_is_left_alone(engine: MemoryEngine) -> None:
    migrate(engine, 4, steps={}, current=4)
    assert stored(engine, "schema") is None


def test_codecs_are_stored_with_the_version(engine: MemoryEngine) -> None:
    migrate(engine, 1, steps={2: lambda engine: None}, current=2)
    assert stored(engine, "catalog") == catalog_specs()


def test_failed_step_is_not_stamped_and_those_before_it_are(engine: MemoryEngine) -> None:
    def fail(engine: object) -> None:
        raise StorageFull("no room")

    with pytest.raises(StorageFull):
        migrate(engine, 1, steps={2: lambda engine: None, 3: fail}, current=3)
    assert stored(engine, "schema") == b"2"


class Interrupted(Exception):
    pass


def ages_to_people(engine: MemoryEngine, *, batches_max: int) -> None:
    """A migration as they are to be written: two rows at a time, with a marker of how far it came."""
    marker = server.ByName("migration")
    for _ in range(batches_max):
        with engine.snapshot() as reader:
            done = server.GLOBAL.get(reader, marker)
            after = ByText(done.decode()) if done is not None else None
            rows = [row for row, _ in zip(AGES.scan(reader, after=after), range(2), strict=False)]
        if not rows:
            return
        batch = WriteBatch()
        for key, age in rows:
            batch.require_absent(PEOPLE, key)
            batch.put(PEOPLE, key, Person(key.text, age))
        batch.put(server.GLOBAL, marker, rows[-1][0].text.encode())
        apply_one(engine, batch)
    raise Interrupted


@pytest.mark.parametrize("batches_before_kill", range(4))
def test_interrupted_step_goes_on_where_it_stopped(engine: MemoryEngine, batches_before_kill: int) -> None:
    batch = WriteBatch()
    people = [(f"p{n}", n) for n in range(1, 6)]
    for name, age in people:
        batch.put(AGES, ByText(name), age)
    apply_one(engine, batch)

    with pytest.raises(Interrupted):
        migrate(engine, 1, steps={2: lambda e: ages_to_people(engine, batches_max=batches_before_kill)}, current=2)
    assert stored(engine, "schema") is None
    migrate(engine, 1, steps={2: lambda e: ages_to_people(engine, batches_max=9)}, current=2)
    with engine.snapshot() as reader:
        assert [person for _, person in PEOPLE.scan(reader)] == [Person(name, age) for name, age in people]


def test_step_may_make_the_map_grow(lmdb_engine: LmdbEngine) -> None:
    def step(engine: object) -> None:
        for number in range(30):
            batch = WriteBatch()
            big: Tree[ByText, str] = Tree("named", AGES.key, TEXT, since=2, doc="x", bound="x")
            batch.put(big, ByText(str(number)), "x" * 100_000)
            apply_one(lmdb_engine, batch)

    with pytest.raises(KeyError, match="global"):  # the sample trees have no stamp: the step itself went through
        migrate(lmdb_engine, 1, steps={2: step}, current=2)
    with lmdb_engine.snapshot() as reader:
        assert reader.count("named") == 30


def test_stored_codecs_of_this_program_are_up_to_date() -> None:
    assert not check_catalog(catalog_specs())
    assert sorted(orjson.loads(catalog_specs())) == sorted(tree.name for tree in CATALOG)


def test_new_tree_and_grown_record_are_written_anew() -> None:
    class Grown(NamedTuple):
        name: str
        age: int = 0
        town: str = ""

    grown: Tree[ByText, Grown] = Tree("people", PEOPLE.key, record(Grown), since=2, doc="x", bound="x")
    assert check_catalog(catalog_specs([AGES]), [AGES, PEOPLE])
    assert check_catalog(catalog_specs([PEOPLE]), [grown])
    with pytest.raises(SchemaMismatch, match=r"tree people was written as .*: the database was written by a newer"):
        check_catalog(catalog_specs([grown]), [PEOPLE])


def test_changed_codec_is_refused() -> None:
    changed: Tree[ByNumber, int] = Tree("ages", Key(ByNumber, (U64(),)), COUNT, since=1, doc="x", bound="x")
    with pytest.raises(SchemaMismatch, match=r"written as \(text: text\(255\)\) -> u64 and is read as \(number: u64\)"):
        check_catalog(catalog_specs([AGES]), [changed])


def test_unknown_tree_is_refused_unless_it_is_retired() -> None:
    with pytest.raises(SchemaMismatch, match=r"tree ages is unknown: .* start that version again"):
        check_catalog(catalog_specs([AGES]), [PEOPLE], [])
    assert check_catalog(catalog_specs([AGES]), [PEOPLE], ["ages"])
