"""Rooms that are made while others are still on their way to the disk."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from conduit_py.matrix.ids import RoomId
from tests.service.sync.world import open_world


async def test_create_room_gives_each_room_its_own_id_within_a_millisecond(mock_clock: MockClock) -> None:
    made: list[RoomId] = []
    async with open_world(threaded=True) as world:
        alice = await world.user("alice")

        async def make_one() -> None:
            made.append(await world.room(alice, version="12"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(make_one)
    assert len(set(made)) == 5
