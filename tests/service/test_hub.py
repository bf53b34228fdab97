"""Wake-ups are hints, but none is lost, and a room's position never lags behind what a snapshot shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from conduit_py.service.hub import WAVE, SyncHub
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, Snapshot, stamp
from conduit_py.storage.writer import open_writer
from kvschema.catalog import server
from kvschema.catalog.rooms import ShortRoomId, ShortUserId
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
        alice_woken, bob_woken = for_alice(), for_bob()
        hub.publish([ALICE])

        assert (alice_woken.is_set(), bob_woken.is_set()) == (True, False)


def test_who_arms_again_waits_again() -> None:
    hub = SyncHub()
    with hub.subscribe(ALICE) as rearm:
        first = rearm()
        hub.publish([ALICE])
        second = rearm()

        assert first.is_set()
        assert not second.is_set()
        assert hub.waiting == 1
    assert hub.waiting == 0


async def test_waves_reach_everybody(nursery: trio.Nursery) -> None:
    hub = SyncHub()
    nursery.start_soon(hub.run)
    users = [ShortUserId(number) for number in range(3 * WAVE)]
    woken: list[ShortUserId] = []

    async def wait(user: ShortUserId) -> None:
        with hub.subscribe(user) as rearm:
            await rearm().wait()
            woken.append(user)

    for user in users:
        nursery.start_soon(wait, user)
    await wait_all_tasks_blocked()
    hub.publish(users)
    await wait_all_tasks_blocked()

    assert sorted(woken) == users
    nursery.cancel_scope.cancel()


def test_stopping_wakes_those_who_wait_and_those_who_come() -> None:
    hub = SyncHub()
    with hub.subscribe(ALICE) as rearm:
        waiting = rearm()
        hub.stop()

        assert hub.is_stopping
        assert waiting.is_set()
        assert rearm().is_set()


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
        with hub.subscribe(ALICE) as rearm:
            woken = rearm()
            async with writer.turn() as turn:
                pos = turn.take_pos()
                hub.stage_room(turn, ROOM, [ALICE])
                with database.snapshot() as snapshot:
                    assert hub.get_room_pos(snapshot, ROOM, never) == pos
                assert not woken.is_set()
                turn.batch.put(server.GLOBAL, server.ByName("test"), b"")
            assert woken.is_set()
