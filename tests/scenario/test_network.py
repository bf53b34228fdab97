"""The network that scenarios stand on: servers reach one another, or not, as the test says."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.errors import Unreachable
from kvschema.engine import Engine
from tests.rig.network import Network, open_network

VERSION = "/_matrix/federation/v1/version"
KEYS = "/_matrix/key/v2/server"


async def _fetch_keys(network: Network, origin: str, destination: str) -> str:
    client = network[origin].built.federation.client
    answer = await client.fetch_server_keys(ServerName(destination))
    name: str = answer["server_name"]
    return name


async def test_a_server_reaches_another(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        assert await _fetch_keys(network, "one.test", "two.test") == "two.test"
        assert network.requests == [("one.test", "two.test", "GET", KEYS)]


async def test_a_cut_network_carries_nothing_until_healed(
    make_engine: Callable[[], Engine], autojump_clock: MockClock
) -> None:
    async with open_network(make_engine, "one.test", "two.test", "three.test") as network:
        network.isolate("two.test")
        with pytest.raises(Unreachable, match="cut"):
            await _fetch_keys(network, "one.test", "two.test")
        assert await _fetch_keys(network, "one.test", "three.test") == "three.test"
        network.heal()
        assert await _fetch_keys(network, "one.test", "two.test") == "two.test"


async def test_a_stopped_server_refuses_and_keeps_what_it_stored(
    make_engine: Callable[[], Engine], autojump_clock: MockClock
) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice = await network["two.test"].register("alice")
        await network["two.test"].stop()
        with pytest.raises(Unreachable, match="refused"):
            await _fetch_keys(network, "one.test", "two.test")
        await network["two.test"].start()
        response = await alice.get("/account/whoami")
        assert response.json["user_id"] == "@alice:two.test"
        assert await _fetch_keys(network, "one.test", "two.test") == "two.test"


async def test_a_stopping_server_cuts_off_what_it_is_at(
    make_engine: Callable[[], Engine], autojump_clock: MockClock
) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice = await network["one.test"].register("alice")
        since = (await alice.get("/sync")).json["next_batch"]

        async def poll() -> None:
            with pytest.raises(Unreachable, match="closed"):
                await alice.get("/sync", since=since, timeout="30000")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await trio.testing.wait_all_tasks_blocked()
            await network["one.test"].restart()


async def test_delays_come_from_the_seed(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> None:
    took = []
    for _ in range(2):
        async with open_network(make_engine, "one.test", "two.test", chance=random.Random(7)) as network:
            before = trio.current_time()
            await _fetch_keys(network, "one.test", "two.test")
            took.append(trio.current_time() - before)
    assert took[0] > 0
    assert took[1] == pytest.approx(took[0])
