"""Leaving rooms behind the back of the request that deactivated an account."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio
import trio.testing

from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.service.errors import Forbidden
from conduit_py.service.requester import Requester
from conduit_py.service.users.deactivate import DeactivationService, LeaveRoom
from kvschema.engine import Engine
from kvschema.errors import StorageFull
from tests.rig.client import Client
from tests.rig.rooms import RoomServer, create, with_rooms
from tests.rig.server import Server, load_test_config, open_server


@pytest.fixture
async def rooms(server: Server) -> RoomServer:
    return await with_rooms(server)


def make(server: Server, leave_room: LeaveRoom) -> DeactivationService:
    """Another one over the same store, which leaves rooms so."""
    accounts = server.services.accounts
    return DeactivationService(server.store, accounts.sessions, accounts.reauth, leave_room=leave_room)


def leaving(server: Server) -> int:
    return len(server.dump()["leavinguserids"])


async def run_until_idle(deactivation: DeactivationService) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deactivation.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def in_two_rooms(server: RoomServer) -> tuple[Client, list[str]]:
    await server.register("admin")
    bob = await server.register("bob")
    return bob, [await create(bob), await create(bob)]


async def test_rooms_are_left_after_a_restart(make_engine: Callable[[], Engine]) -> None:
    engine = make_engine()
    async with open_server(engine, load_test_config()) as server:
        bob, room_ids = await in_two_rooms(await with_rooms(server))

        async def hang(requester: Requester, room_id: RoomId) -> None:
            await trio.sleep_forever()

        deactivation = make(server, hang)
        await deactivation.deactivate_other(UserId(bob.user_id), erase=False)
        await run_until_idle(deactivation)
        assert leaving(server) == 1
    async with open_server(engine, load_test_config()) as server:
        await trio.testing.wait_all_tasks_blocked()
        assert server.services.left == [(bob.user_id, room_id) for room_id in room_ids]
        assert leaving(server) == 0


async def test_room_that_cannot_be_left_does_not_hold_up_the_others(
    rooms: RoomServer, caplog: pytest.LogCaptureFixture
) -> None:
    bob, room_ids = await in_two_rooms(rooms)
    asked: list[str] = []

    async def refuse(requester: Requester, room_id: RoomId) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(room_id)
        raise Forbidden("The room is beyond reach")

    deactivation = make(rooms, refuse)
    await deactivation.deactivate_other(UserId(bob.user_id), erase=False)
    with caplog.at_level(logging.WARNING):
        await run_until_idle(deactivation)
    assert asked == room_ids
    assert leaving(rooms) == 0
    assert sum("stays in a room" in record.getMessage() for record in caplog.records) == 2


async def test_full_disk_only_delays_leaving(rooms: RoomServer, autojump_clock: trio.testing.MockClock) -> None:
    bob, room_ids = await in_two_rooms(rooms)
    attempts: list[float] = []

    async def fail_once(requester: Requester, room_id: RoomId) -> None:
        await trio.lowlevel.checkpoint()
        attempts.append(trio.current_time())
        if len(attempts) == 1:
            raise StorageFull("no room")

    deactivation = make(rooms, fail_once)
    await deactivation.deactivate_other(UserId(bob.user_id), erase=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deactivation.run)
        await trio.sleep(30)
        assert leaving(rooms) == 1
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert len(attempts) == 1 + len(room_ids)
    assert leaving(rooms) == 0
