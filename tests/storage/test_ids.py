"""One string, one short id, whatever becomes of the batch that brought it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database
from conduit_py.storage.ids import Interner
from conduit_py.storage.writer import Writer, open_writer
from kvschema.catalog import rooms, server
from kvschema.codec import KeyTooLong
from kvschema.errors import PreconditionFailed, StorageFull
from tests.storage.engines import ScriptedEngine

ALICE = rooms.ByUserId("@alice:one.test")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def database(engine: ScriptedEngine) -> Database:
    return Database(engine, ObjectCache(1000))


@pytest.fixture
def interner() -> Iterator[Interner[rooms.ByUserId]]:
    made = Interner(rooms.USERID_SHORTUSERID)
    yield made
    assert made._pending == {}, "an id that nobody waits for any more is still remembered"


async def intern(
    writer: Writer, database: Database, interner: Interner[rooms.ByUserId], *, is_refused: bool = False
) -> int:
    async with writer.turn() as turn:
        with database.snapshot() as snapshot:
            short = interner.intern(
                snapshot,
                turn,
                ALICE,
                lambda short: turn.batch.put(rooms.SHORTUSERID_USERID, rooms.ByShort(short), ALICE.user_id),
            )
        if is_refused:
            turn.batch.require(server.GLOBAL, server.ByName("never"), b"there")
    return short


def stored(database: Database) -> tuple[int | None, list[tuple[int, str]]]:
    with database.snapshot() as snapshot:
        reverse = [(key.short, user_id) for key, user_id in rooms.SHORTUSERID_USERID.scan(snapshot)]
        return rooms.USERID_SHORTUSERID.get(snapshot, ALICE), reverse


async def test_string_keeps_its_id(database: Database, interner: Interner[rooms.ByUserId]) -> None:
    async with open_writer(database.engine, database.cache, last_pos=7, threaded=False) as writer:
        first = await intern(writer, database, interner)
        second = await intern(writer, database, interner)
    assert first == second == 8
    assert stored(database) == (8, [(8, ALICE.user_id)])
    with database.snapshot() as snapshot:
        assert interner.get(snapshot, ALICE) == 8


@pytest.mark.parametrize("first_is_refused", [False, True])
async def test_concurrent_turns_get_the_same_id(
    engine: ScriptedEngine, database: Database, interner: Interner[rooms.ByUserId], first_is_refused: bool
) -> None:
    engine.hold()
    shorts: list[int] = []

    async def turn(is_refused: bool) -> None:
        try:
            shorts.append(await intern(writer, database, interner, is_refused=is_refused))
        except PreconditionFailed:
            assert is_refused

    async with open_writer(engine, database.cache, last_pos=0, threaded=True) as writer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turn, first_is_refused)
            await engine.entered()
            nursery.start_soon(turn, False)
            nursery.start_soon(turn, True)
            await wait_all_tasks_blocked()
            engine.release()
        shorts.append(await intern(writer, database, interner))
    assert len(set(shorts)) == 1
    assert stored(database) == (shorts[0], [(shorts[0], ALICE.user_id)])


async def test_id_of_a_write_that_found_no_room_is_given_to_nobody_else(
    engine: ScriptedEngine, database: Database, interner: Interner[rooms.ByUserId], expect_errors: list[object]
) -> None:
    async with open_writer(engine, database.cache, last_pos=0, threaded=False) as writer:
        engine.is_full = True
        with pytest.raises(StorageFull):
            await intern(writer, database, interner)
        engine.is_full = False
        short = await intern(writer, database, interner)
    assert short > 1, "position 1 was taken by the write that was refused"
    assert stored(database) == (short, [(short, ALICE.user_id)])


async def test_turn_that_was_dropped_forgets_its_ids(database: Database, interner: Interner[rooms.ByUserId]) -> None:
    async def give_up() -> None:
        async with writer.turn() as turn:
            with database.snapshot() as snapshot:
                interner.intern(snapshot, turn, ALICE, lambda short: None)
            raise LookupError

    async with open_writer(database.engine, database.cache, last_pos=0, threaded=False) as writer:
        with pytest.raises(LookupError):
            await give_up()
        assert stored(database) == (None, [])


async def test_string_that_does_not_fit_is_forgotten(database: Database, interner: Interner[rooms.ByUserId]) -> None:
    async def intern_long() -> None:
        async with writer.turn() as turn:
            with database.snapshot() as snapshot:
                interner.intern(snapshot, turn, rooms.ByUserId("@" + "a" * 300), lambda short: None)

    async with open_writer(database.engine, database.cache, last_pos=0, threaded=False) as writer:
        with pytest.raises(KeyTooLong):
            await intern_long()
