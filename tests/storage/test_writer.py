"""Batches land in order, many per fsync; callers learn the truth, and nobody waits for ever."""

from __future__ import annotations

import logging
from functools import partial

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import GROUP_COMMITS_MAX, QUEUE_COMMITS_MAX, open_writer
from kvschema.catalog import server
from kvschema.errors import BatchRefused, PreconditionFailed, StorageFailed, StorageFull
from tests.storage.engines import ScriptedEngine, commit, names, put

both = pytest.mark.parametrize("threaded", [False, True], ids=["in place", "threaded"])


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache(1_000_000)


@both
async def test_turn_ends_once_its_batch_landed(engine: ScriptedEngine, cache: ObjectCache, threaded: bool) -> None:
    async with open_writer(engine, cache, last_pos=0, threaded=threaded) as writer:
        await commit(writer, "a")
        assert names(engine) == {"a"}


@both
async def test_turn_that_writes_nothing_lets_others_go_on(
    engine: ScriptedEngine, cache: ObjectCache, threaded: bool
) -> None:
    """Whoever looks through all there is, and finds nothing to do, must not stop the loop."""
    async with open_writer(engine, cache, last_pos=0, threaded=threaded) as writer:
        with assert_checkpoints():
            async with writer.turn():
                pass


async def test_caller_waits_for_the_disk(engine: ScriptedEngine, cache: ObjectCache) -> None:
    engine.hold()
    resumed: list[set[str]] = []

    async def caller() -> None:
        await commit(writer, "a")
        resumed.append(names(engine))

    async with open_writer(engine, cache, last_pos=0, threaded=True) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await engine.entered()
        await wait_all_tasks_blocked()
        assert resumed == []
        engine.release()
    assert resumed == [{"a"}]


async def test_concurrent_commits_share_a_group(engine: ScriptedEngine, cache: ObjectCache) -> None:
    engine.hold()
    async with open_writer(engine, cache, last_pos=0, threaded=True) as writer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, writer, "first")
            await engine.entered()
            for number in range(GROUP_COMMITS_MAX + 10):
                nursery.start_soon(commit, writer, f"n{number}")
            await wait_all_tasks_blocked()
            engine.release()
        assert engine.groups == [1, GROUP_COMMITS_MAX, 10]
        assert (writer.commits, writer.groups) == (GROUP_COMMITS_MAX + 11, 3)


@both
async def test_landed_callbacks_run_in_commit_order_before_their_owner(
    engine: ScriptedEngine, cache: ObjectCache, threaded: bool
) -> None:
    told: list[str] = []
    positions: list[int] = []

    async def send(number: int) -> None:
        async with writer.turn() as turn:
            put(turn, f"n{number}")
            positions.append(turn.take_pos())
            turn.on_landed(partial(told.append, f"landed {turn.pos}"))
            turn.on_settled(partial(told.append, f"settled {turn.pos}"))
        assert told.index(f"landed {turn.pos}") < told.index(f"settled {turn.pos}")

    async with open_writer(engine, cache, last_pos=100, threaded=threaded) as writer, trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(send, number)
    assert positions == list(range(101, 151))
    assert told == [f"{what} {pos}" for pos in positions for what in ("landed", "settled")]
    with engine.snapshot() as reader:
        assert server.GLOBAL.get(reader, server.ByName("position")) == (150).to_bytes(8, "big")


@both
async def test_refused_batch_fails_its_caller_alone(engine: ScriptedEngine, cache: ObjectCache, threaded: bool) -> None:
    outcomes: dict[int, str] = {}

    async def send(number: int) -> None:
        try:
            async with writer.turn() as turn:
                put(turn, f"n{number}")
                turn.on_landed(lambda: outcomes.update({number: "landed"}))
                if number == 3:
                    turn.batch.require_absent(server.GLOBAL, server.ByName("n3"))
        except PreconditionFailed:
            outcomes[number] = "refused"

    async with open_writer(engine, cache, last_pos=0, threaded=threaded) as writer, trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(send, number)
    assert outcomes == {number: "refused" if number == 3 else "landed" for number in range(8)}
    assert names(engine) == {f"n{number}" for number in range(8)} - {"n3"}


@both
async def test_turn_left_by_an_exception_writes_nothing(
    engine: ScriptedEngine, cache: ObjectCache, threaded: bool
) -> None:
    settled: list[bool] = []

    async def give_up() -> None:
        async with writer.turn() as turn:
            put(turn, "a")
            turn.on_settled(partial(settled.append, True))
            raise LookupError

    async with open_writer(engine, cache, last_pos=0, threaded=threaded) as writer:
        with pytest.raises(LookupError):
            await give_up()
        async with writer.turn():
            pass  # nothing staged
    assert settled == [True]
    assert engine.groups == []


async def test_cancelled_caller_keeps_its_lock_until_its_batch_landed(
    engine: ScriptedEngine, cache: ObjectCache
) -> None:
    engine.hold()
    locks = KeyedLocks()
    told: list[str] = []

    async def cancelled(scope: trio.CancelScope) -> None:
        with scope:
            async with locks.hold("room"):
                await commit(writer, "a")
                told.append("landed")
                await trio.lowlevel.checkpoint()
                told.append("never")

    async def next_one() -> None:
        async with locks.hold("room"):
            told.append(f"next sees {names(engine)}")

    async with open_writer(engine, cache, last_pos=0, threaded=True) as writer, trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(cancelled, scope)
        await engine.entered()
        nursery.start_soon(next_one)
        scope.cancel()
        await wait_all_tasks_blocked()
        assert told == []
        engine.release()
    assert told == ["landed", "next sees {'a'}"]
    assert engine.groups == [1]


async def test_cancelled_before_its_place_writes_nothing(engine: ScriptedEngine, cache: ObjectCache) -> None:
    engine.hold()
    scope = trio.CancelScope()

    async def late() -> None:
        with scope:
            await commit(writer, "late")

    async with open_writer(engine, cache, last_pos=0, threaded=True) as writer, trio.open_nursery() as nursery:
        for number in range(QUEUE_COMMITS_MAX):
            nursery.start_soon(commit, writer, f"n{number}")
        await wait_all_tasks_blocked()
        nursery.start_soon(late)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        engine.release()
    assert "late" not in names(engine)
    assert sum(engine.groups) == QUEUE_COMMITS_MAX


@both
async def test_full_disk_refuses_and_recovers(
    engine: ScriptedEngine,
    cache: ObjectCache,
    threaded: bool,
    expect_errors: list[logging.LogRecord],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_writer(engine, cache, last_pos=0, threaded=threaded) as writer:
        await commit(writer, "before")
        engine.is_full = True
        for _ in range(3):
            with pytest.raises(StorageFull):
                await commit(writer, "refused")
        await commit(writer, "delete", may_use_reserve=True)
        was_full = writer.is_full
        with pytest.raises(StorageFull):
            await commit(writer, "refused")
        engine.is_full = False
        await commit(writer, "after")
        assert (was_full, writer.is_full) == (True, False)
    assert names(engine) == {"before", "delete", "after"}
    assert len(expect_errors) == 1, "told once, not for every write"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


async def test_failed_write_tells_every_waiter_and_ends_the_writer(engine: ScriptedEngine, cache: ObjectCache) -> None:
    engine.hold()
    told: list[str] = []

    async def send(number: int) -> None:
        try:
            async with writer.turn() as turn:
                put(turn, f"n{number}")
                turn.changes("key")
                turn.on_landed(partial(told.append, "landed"))
                turn.on_settled(partial(told.append, "settled"))
        except StorageFailed:
            told.append("failed")

    with pytest.RaisesGroup(StorageFailed):
        async with open_writer(engine, cache, last_pos=0, threaded=True) as writer:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, 0)
                await engine.entered()
                for number in range(1, 6):
                    nursery.start_soon(send, number)
                await wait_all_tasks_blocked()
                engine.failure = OSError("fsync failed")
                engine.release()
            assert sorted(told) == ["failed"] * 6 + ["settled"] * 6
            with pytest.raises(StorageFailed):
                await commit(writer, "too late")
    assert engine.groups == [1]
    assert names(engine) == set()
    cache.put("key", 1, 1, 1)
    assert cache.get("key", 1) == 1, "nothing stays held"


async def test_failed_write_in_place_ends_the_writer_too(engine: ScriptedEngine, cache: ObjectCache) -> None:
    engine.failure = OSError("fsync failed")
    with pytest.RaisesGroup(StorageFailed) as caught:
        async with open_writer(engine, cache, last_pos=0, threaded=False) as writer:
            with pytest.raises(StorageFailed):
                await commit(writer, "a")
            await trio.sleep_forever()
    assert caught.value.exceptions[0].__cause__ is engine.failure


@both
async def test_callback_that_fails_ends_the_writer_after_what_is_queued(
    engine: ScriptedEngine, cache: ObjectCache, threaded: bool, expect_errors: list[logging.LogRecord]
) -> None:
    told: list[str] = []

    def fail() -> None:
        raise LookupError("a mistake of ours")

    async def send(number: int) -> None:
        async with writer.turn() as turn:
            put(turn, f"n{number}")
            turn.on_landed(fail if number == 0 else partial(told.append, "landed"))
            turn.on_settled(partial(told.append, "settled"))

    engine.hold() if threaded else None
    with pytest.RaisesGroup(StorageFailed):
        async with open_writer(engine, cache, last_pos=0, threaded=threaded) as writer:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send, 0)
                    if threaded:
                        await engine.entered()
                        nursery.start_soon(send, 1)
                        await wait_all_tasks_blocked()
                        engine.release()
            await trio.sleep_forever()
    assert told == (["settled", "landed", "settled"] if threaded else ["settled"])
    assert names(engine) == ({"n0", "n1"} if threaded else {"n0"})
    assert expect_errors


@both
async def test_closing_lets_what_is_queued_land(engine: ScriptedEngine, cache: ObjectCache, threaded: bool) -> None:
    async with trio.open_nursery() as callers:
        async with open_writer(engine, cache, last_pos=0, threaded=threaded) as writer:
            for number in range(600):
                callers.start_soon(commit, writer, f"n{number}")
            await wait_all_tasks_blocked()
        assert len(names(engine)) == 600


@both
async def test_turn_after_closing_fails_instead_of_waiting(
    engine: ScriptedEngine, cache: ObjectCache, threaded: bool
) -> None:
    async with open_writer(engine, cache, last_pos=0, threaded=threaded) as writer:
        pass
    with pytest.raises(StorageFailed):
        await commit(writer, "late")


async def test_cancelled_body_still_drains(engine: ScriptedEngine, cache: ObjectCache) -> None:
    engine.hold()
    with trio.CancelScope() as scope:
        async with open_writer(engine, cache, last_pos=0, threaded=True) as writer, trio.open_nursery() as nursery:
            nursery.start_soon(commit, writer, "a")
            await engine.entered()
            nursery.start_soon(commit, writer, "b")
            await wait_all_tasks_blocked()
            scope.cancel()
            engine.release()
    assert names(engine) == {"a", "b"}


async def test_turn_that_waited_after_its_position_is_caught(engine: ScriptedEngine, cache: ObjectCache) -> None:
    async def wait_inside() -> None:
        async with writer.turn() as first:
            put(first, "a")
            first.take_pos()
            async with writer.turn() as second:
                put(second, "b")
                second.take_pos()

    async with open_writer(engine, cache, last_pos=0, threaded=False) as writer:
        with pytest.raises(AssertionError, match="awaited between taking a position and its end"):
            await wait_inside()
    assert names(engine) == {"b"}


async def test_batch_that_does_not_fit_is_refused(engine: ScriptedEngine, cache: ObjectCache) -> None:
    async def count_down() -> None:
        async with writer.turn() as turn:
            turn.batch.add(server.STARTGAP, server.ByPos(1), -1)

    async with open_writer(engine, cache, last_pos=0, threaded=True) as writer:
        with pytest.raises(BatchRefused):
            await count_down()


async def test_what_a_turn_keeps_is_cached_once_it_landed(engine: ScriptedEngine, cache: ObjectCache) -> None:
    engine.hold()

    async def add() -> None:
        async with writer.turn() as turn:
            put(turn, "a")
            turn.keep("new", "value", 1)
            turn.keep("changed here", "old", 1)
            turn.keep("changed later", "old", 1)
            turn.changes("changed here")
            turn.take_pos()

    async def change() -> None:
        async with writer.turn() as turn:
            put(turn, "b")
            turn.changes("changed later")

    async with open_writer(engine, cache, last_pos=4, threaded=True) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(add)
        await engine.entered()
        nursery.start_soon(change)
        await wait_all_tasks_blocked()
        assert cache.get("new", 9) is None
        engine.release()
    assert (cache.get("new", 4), cache.get("new", 5)) == (None, "value")
    assert [cache.get(key, 9) for key in ("changed here", "changed later")] == [None, None]


async def test_what_a_refused_turn_keeps_is_not_cached(engine: ScriptedEngine, cache: ObjectCache) -> None:
    async def add() -> None:
        async with writer.turn() as turn:
            turn.batch.require(server.GLOBAL, server.ByName("missing"), b"x")
            turn.keep("new", "value", 1)

    async with open_writer(engine, cache, last_pos=4, threaded=False) as writer:
        with pytest.raises(PreconditionFailed):
            await add()
    assert cache.get("new", 9) is None


async def test_cache_keys_are_out_until_their_batch_settled(engine: ScriptedEngine, cache: ObjectCache) -> None:
    engine.hold()
    cache.put("changed", "old", 1, 1)

    async def change() -> None:
        async with writer.turn() as turn:
            put(turn, "a")
            turn.changes("changed")

    async with open_writer(engine, cache, last_pos=0, threaded=True) as writer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(change)
            await engine.entered()
            cache.put("changed", "old again", 1, 1)
            assert cache.get("changed", 9) is None
            engine.release()
        cache.put("changed", "new", 1, 2)
        assert cache.get("changed", 9) == "new"
