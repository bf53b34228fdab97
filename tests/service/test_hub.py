"""Wake-ups are hints, but none is lost, and a room's position never lags behind what a snapshot shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from conduit_py.service.hub import WAVE, SyncHub
from conduit_py.service.news import Messages, RoomNews
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, Snapshot, stamp
from conduit_py.storage.writer import open_writer
from kvschema.catalog import server
from kvschema.catalog.rooms import ShortRoomId, ShortUserId, StateId
from kvschema.engine.memory import MemoryEngine

ALICE, BOB = ShortUserId(1), ShortUserId(2)
ROOM = ShortRoomId(7)


@pytest.fixture
def database() -> Database:
    engine = MemoryEngine()
    stamp(engine, "one.test")
    return Database(engine, ObjectCache(1000))


@pytest.fixture
def snapshot(database: Database) -> Iterator[Snapshot]:
    with database.snapshot() as snapshot:
        yield snapshot


def never(snapshot: Snapshot, room: ShortRoomId) -> int:
    raise AssertionError("read from the store")


def test_only_those_who_are_named_are_woken() -> None:
    hub = SyncHub()
    with hub.subscribe(ALICE) as for_alice, hub.subscribe(BOB) as for_bob:
        for_alice.rearm()
        for_bob.rearm()
        hub.publish([ALICE])

        assert (for_alice.event.is_set(), for_bob.event.is_set()) == (True, False)


def test_who_arms_again_waits_again() -> None:
    hub = SyncHub()
    with hub.subscribe(ALICE) as waiter:
        waiter.rearm()
        first = waiter.event
        hub.publish([ALICE])
        waiter.rearm()

        assert first.is_set()
        assert not waiter.event.is_set()
        assert hub.waiting == 1
    assert hub.waiting == 0


async def test_waves_reach_everybody(nursery: trio.Nursery) -> None:
    hub = SyncHub()
    nursery.start_soon(hub.run)
    users = [ShortUserId(number) for number in range(3 * WAVE)]
    woken: list[ShortUserId] = []

    async def wait(user: ShortUserId) -> None:
        with hub.subscribe(user) as waiter:
            waiter.rearm()
            await waiter.wait()
            woken.append(user)

    for user in users:
        nursery.start_soon(wait, user)
    await wait_all_tasks_blocked()
    hub.publish(users)
    await wait_all_tasks_blocked()

    assert sorted(woken) == users
    nursery.cancel_scope.cancel()


async def test_no_more_than_a_wave_is_woken_at_once_by_however_many_commits(nursery: trio.Nursery) -> None:
    hub = SyncHub()
    nursery.start_soon(hub.run)
    await wait_all_tasks_blocked()
    with ExitStack() as stack:
        waiters = [stack.enter_context(hub.subscribe(ShortUserId(number))) for number in range(2 * WAVE)]
        for _ in range(2):
            for number, waiter in enumerate(waiters):
                waiter.rearm()
                hub.publish([ShortUserId(number)])
            assert sum(waiter.event.is_set() for waiter in waiters) == WAVE
            await wait_all_tasks_blocked()
            assert all(waiter.event.is_set() for waiter in waiters)
    nursery.cancel_scope.cancel()


def test_stopping_wakes_those_who_wait_and_those_who_come() -> None:
    hub = SyncHub()
    with hub.subscribe(ALICE) as waiter:
        waiter.rearm()
        hub.stop()

        assert hub.is_stopping
        assert waiter.event.is_set()
        waiter.rearm()
        assert waiter.event.is_set()


def test_the_position_of_a_room_is_read_once_and_only_rises(snapshot: Snapshot) -> None:
    hub = SyncHub()
    assert hub.get_room_pos(snapshot, ROOM, lambda snapshot, room: 5) == 5
    hub.publish_room(ROOM, 9, [])
    hub.publish_room(ROOM, 8, [])

    assert hub.get_room_pos(snapshot, ROOM, never) == 9


async def test_the_position_of_a_room_moves_before_its_batch_can_be_seen(database: Database) -> None:
    """The waking comes after the batch has landed; a snapshot taken in between must find the room changed."""
    hub = SyncHub()
    async with open_writer(database.engine, database.cache, last_pos=100, threaded=False) as writer:
        with hub.subscribe(ALICE) as waiter:
            waiter.rearm()
            async with writer.turn() as turn:
                pos = turn.take_pos()
                hub.stage_room(turn, ROOM, [ALICE])
                with database.snapshot() as snapshot:
                    assert hub.get_room_pos(snapshot, ROOM, never) == pos
                assert not waiter.event.is_set()
                turn.batch.put(server.GLOBAL, server.ByName("test"), b"")
            assert waiter.event.is_set()


async def test_a_waiter_knows_what_it_was_woken_for_where_that_is_rooms(database: Database) -> None:
    hub = SyncHub()
    hub.publish_room(ROOM, 90, [])
    async with open_writer(database.engine, database.cache, last_pos=100, threaded=False) as writer:
        with hub.subscribe(ALICE) as waiter:
            assert waiter.rearm() is None

            for number, pos in enumerate((101, 102)):
                async with writer.turn() as turn:
                    assert turn.take_pos() == pos
                    hub.stage_room(turn, ROOM, [ALICE])
                    turn.batch.put(server.GLOBAL, server.ByName(f"test {number}"), b"")
            assert waiter.rearm() == RoomNews({ROOM: 90}, 102)
            assert waiter.rearm() is None

            hub.publish([ALICE], RoomNews({ROOM: 95}, 99))
            hub.publish([ALICE])
            assert waiter.rearm() is None


async def test_messages_are_told_where_they_are_all_that_a_waiter_was_woken_for(database: Database) -> None:
    """And where they left the room in the state in which the waiter was told of it last."""
    hub, messages = SyncHub(), Messages.of("!room", (), 0, frozenset())
    async with open_writer(database.engine, database.cache, last_pos=100, threaded=False) as writer:

        async def send(state: int) -> None:
            async with writer.turn() as turn:
                pos = turn.take_pos()
                hub.stage_events(turn, ROOM, [ALICE], state=StateId(state), messages=messages)
                turn.batch.put(server.GLOBAL, server.ByName(f"test {pos}"), b"")
            assert turn.gives_way

        with hub.subscribe(ALICE) as waiter:
            for states, told in (((1,), None), ((1,), messages), ((1, 1), None), ((2,), None), ((2,), messages)):
                waiter.rearm()
                for state in states:
                    await send(state)
                news = waiter.rearm()
                assert (None if news is None else news.messages) == told


async def test_who_made_the_news_goes_on_when_those_whom_it_woke_have_heard_it(database: Database) -> None:
    hub, told = SyncHub(), []

    async def wait(user: ShortUserId) -> None:
        with hub.subscribe(user) as waiter:
            waiter.rearm()
            await waiter.wait()
            told.append(user)

    async with (
        open_writer(database.engine, database.cache, last_pos=100, threaded=False) as writer,
        trio.open_nursery() as nursery,
    ):
        for user in (ALICE, BOB):
            nursery.start_soon(wait, user)
        await wait_all_tasks_blocked()
        async with writer.turn() as turn:
            turn.take_pos()
            hub.stage_room(turn, ROOM, [ALICE, BOB])
            turn.batch.put(server.GLOBAL, server.ByName("test"), b"")
        assert sorted(told) == [ALICE, BOB]


async def test_a_room_of_which_nothing_was_known_is_any_news(database: Database) -> None:
    """Nobody can say since when there is news in it."""
    hub = SyncHub()
    async with open_writer(database.engine, database.cache, last_pos=100, threaded=False) as writer:
        with hub.subscribe(ALICE) as waiter:
            waiter.rearm()
            async with writer.turn() as turn:
                turn.take_pos()
                hub.stage_room(turn, ROOM, [ALICE])
                turn.batch.put(server.GLOBAL, server.ByName("test"), b"")
            assert waiter.event.is_set()
            assert waiter.rearm() is None


def test_who_is_woken_twice_is_woken_once() -> None:
    hub = SyncHub()
    users = [ShortUserId(number) for number in range(2 * WAVE)]
    with ExitStack() as stack:
        for user in users:
            stack.enter_context(hub.subscribe(user)).rearm()
        hub.publish(users)
        queued = len(hub._woken)
        hub.publish(users)
        assert len(hub._woken) == queued
