"""What /sync costs: an incremental one without news, one that finds one message, a long-poll's wake, an initial one.

Run with ``python -m bench.sync``. The store is LMDB in a temporary directory, written to without a thread.
Prints medians in microseconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import trio
import trio.testing

from conduit_py.matrix.filters import parse_sync_filter
from conduit_py.matrix.sync_token import SyncToken, parse_sync_token
from conduit_py.service.requester import Requester
from conduit_py.service.sync.since import SyncRequest
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine
from tests.service.sync.world import World, open_world

ROOMS: Final = 8
MEMBERS: Final = 20
ROUNDS: Final = 100
LAZY: Final = parse_sync_filter({"room": {"state": {"lazy_load_members": True}}})

NOTHING_US_MAX: Final = 400
ONE_US_MAX: Final = 1_000
SEND_US_MAX: Final = 20_000
"""Mostly the disk's."""
INITIAL_US_MAX: Final = 60_000


async def _fill(world: World) -> tuple[list[Requester], list[Any]]:
    users = [await world.user(f"user{number}") for number in range(MEMBERS)]
    rooms = [await world.room(users[0], name=f"room {number}") for number in range(ROOMS)]
    for room_id in rooms:
        for user in users[1:]:
            await world.membership.join(user, room_id)
        for number in range(30):
            await world.send(users[number % MEMBERS], room_id, f"message {number}")
    return users, rooms


async def _time(what: str, limit_us: int, rounds: int, operation: Callable[[], Awaitable[float]]) -> None:
    spent = median([await operation() for _ in range(rounds)]) * 1e6
    print(f"{what:32} {spent:9.0f} us   {'ok' if spent <= limit_us else f'SLOW, more than {limit_us}'}")


async def _measure(world: World) -> None:
    users, rooms = await _fill(world)
    reader = users[1]
    sent = 0

    async def sync(request: SyncRequest) -> bytes:
        return await world.syncs.sync(reader, request)

    async def token() -> SyncToken:
        body = await sync(SyncRequest(filter=parse_sync_filter({"room": {"rooms": []}})))
        return parse_sync_token(body[15 : body.index(b'"', 15)].decode())

    async def nothing() -> float:
        request = SyncRequest(since=await token())
        began = perf_counter()
        await sync(request)
        return perf_counter() - began

    async def one_message() -> float:
        nonlocal sent
        request, sent = SyncRequest(since=await token()), sent + 1
        await world.send(users[2], rooms[sent % ROOMS], f"more {sent}")
        began = perf_counter()
        await sync(request)
        return perf_counter() - began

    async def wake() -> float:
        """From the request that sends to the reply that shows it, the commit to disk included."""
        nonlocal sent
        request, sent = SyncRequest(since=await token(), timeout_ms=60_000), sent + 1
        told = 0.0

        async def poll() -> None:
            nonlocal told
            await sync(request)
            told = perf_counter()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await trio.testing.wait_all_tasks_blocked()
            began = perf_counter()
            await world.send(users[2], rooms[sent % ROOMS], f"more {sent}")
        return told - began

    async def initial() -> float:
        began = perf_counter()
        await sync(SyncRequest())
        return perf_counter() - began

    async def initial_lazy() -> float:
        began = perf_counter()
        await sync(SyncRequest(filter=LAZY))
        return perf_counter() - began

    await _time("incremental, nothing new", NOTHING_US_MAX, ROUNDS, nothing)
    await _time("incremental, one message", ONE_US_MAX, ROUNDS, one_message)
    await _time("from send to long-poll's reply", SEND_US_MAX, ROUNDS, wake)
    await _time(f"initial, {ROOMS} rooms of {MEMBERS}", INITIAL_US_MAX, 20, initial)
    await _time("the same, lazy members", INITIAL_US_MAX, 20, initial_lazy)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = LmdbEngine(Path(folder), [tree.name for tree in CATALOG], reserve_bytes=0)
        async with open_world(engine) as world:
            world.slice_clock = perf_counter
            await _measure(world)
        engine.close()


if __name__ == "__main__":
    trio.run(main)
