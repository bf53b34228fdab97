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
from kvschema.migrate import OnRows, Step, apply_one, catalog_specs, check_catalog, migrate, migrate_rows
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


def nothing(engine: object, on_rows: OnRows) -> None:
    pass


def test_steps_run_in_order_and_each_is_stamped(engine: MemoryEngine) -> None:
    seen = []

    def step(version: int) -> Step:
        return lambda engine, on_rows: seen.append((version, stored(engine, "schema")))

    told: list[int] = []
    migrate(engine, 1, steps={n: step(n) for n in (2, 3, 4)}, current=4, on_step=told.append)
    assert seen == [(2, None), (3, b"2"), (4, b"3")]
    assert stored(engine, "schema") == b"4"
    assert told == [2, 3, 4]


def test_current_store_is_left_alone(engine: MemoryEngine) -> None:
    migrate(engine, 4, steps={}, current=4)
    assert stored(engine, "schema") is None


def test_codecs_are_stored_with_the_version(engine: MemoryEngine) -> None:
    migrate(engine, 1, steps={2: nothing}, current=2)
    assert stored(engine, "catalog") == catalog_specs()


def test_failed_step_is_not_stamped_and_those_before_it_are(engine: MemoryEngine) -> None:
    def fail(engine: object, on_rows: OnRows) -> None:
        raise StorageFull("no room")

    with pytest.raises(StorageFull):
        migrate(engine, 1, steps={2: nothing, 3: fail}, current=3)
    assert stored(engine, "schema") == b"2"


class Interrupted(Exception):
    pass


def fill_ages(engine: Engine, count: int) -> list[Person]:
    batch = WriteBatch()
    people = [Person(f"p{number:05}", number) for number in range(1, count + 1)]
    for name, age in people:
        batch.put(AGES, ByText(name), age)
    apply_one(engine, batch)
    return people


def ages_to_people(batch: WriteBatch, key: ByText, age: int) -> None:
    batch.require_absent(PEOPLE, key)
    batch.put(PEOPLE, key, Person(key.text, age))
    batch.delete(AGES, key)


@pytest.mark.parametrize("batches_before_kill", range(5))
def test_interrupted_step_goes_on_where_it_stopped(engine: MemoryEngine, batches_before_kill: int) -> None:
    people = fill_ages(engine, 3500)
    told: list[tuple[int, int]] = []

    def step(engine: Engine, on_rows: OnRows) -> None:
        migrate_rows(engine, AGES, ages_to_people, on_rows)

    def fail(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == batches_before_kill:
            raise Interrupted

    if batches_before_kill:
        with pytest.raises(Interrupted):
            migrate(engine, 1, steps={2: step}, current=2, on_rows=fail)
        assert stored(engine, "schema") is None
    migrate(engine, 1, steps={2: step}, current=2, on_rows=fail)
    with engine.snapshot() as reader:
        assert [person for _, person in PEOPLE.scan(reader)] == people
        assert reader.count("ages") == 0
        assert [key.name for key in server.GLOBAL.scan_keys(reader)] == ["catalog", "schema"]
    # A row was never done twice, and the last batch found that none was left.
    assert told == [(1000, 3500), (2000, 3500), (3000, 3500), (3500, 3500), (3500, 3500)]


def test_step_goes_over_several_trees(engine: MemoryEngine) -> None:
    fill_ages(engine, 3)
    seen: list[str] = []

    def step(engine: Engine, on_rows: OnRows) -> None:
        migrate_rows(engine, AGES, lambda batch, key, age: seen.append(key.text), on_rows)
        migrate_rows(engine, PEOPLE, lambda batch, key, person: seen.append(person.name), on_rows)

    migrate(engine, 1, steps={2: step}, current=2)
    assert seen == ["p00001", "p00002", "p00003"]


def test_batches_are_bounded_in_bytes(engine: MemoryEngine) -> None:
    fill_ages(engine, 10)
    big: Tree[ByText, str] = Tree("named", AGES.key, TEXT, since=2, doc="x", bound="x")
    told: list[tuple[int, int]] = []

    def step(engine: Engine, on_rows: OnRows) -> None:
        migrate_rows(engine, AGES, lambda batch, key, age: batch.put(big, key, "x" * (2 << 20)), on_rows)

    migrate(engine, 1, steps={2: step}, current=2, on_rows=lambda done, total: told.append((done, total)))
    assert told == [*((done, 10) for done in (2, 4, 6, 8, 10)), (10, 10)]


def test_step_may_make_the_map_grow(lmdb_engine: LmdbEngine) -> None:
    def step(engine: object, on_rows: OnRows) -> None:
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
    assert check_catalog(catalog_specs((AGES,)), [AGES, PEOPLE])
    assert check_catalog(catalog_specs((PEOPLE,)), [grown])
    with pytest.raises(SchemaMismatch, match=r"tree people was written as .*: the database was written by a newer"):
        check_catalog(catalog_specs((grown,)), [PEOPLE])


def test_changed_codec_is_refused() -> None:
    changed: Tree[ByNumber, int] = Tree("ages", Key(ByNumber, (U64(),)), COUNT, since=1, doc="x", bound="x")
    with pytest.raises(SchemaMismatch, match=r"written as \(text: text\(255\)\) -> u64 and is read as \(number: u64\)"):
        check_catalog(catalog_specs((AGES,)), [changed])


def test_unknown_tree_is_refused_unless_it_is_retired() -> None:
    with pytest.raises(SchemaMismatch, match=r"tree ages is unknown: .* start that version again"):
        check_catalog(catalog_specs((AGES,)), [PEOPLE], [])
    assert check_catalog(catalog_specs((AGES,)), [PEOPLE], ["ages"])
