"""The commands about other servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import MockClock

from conduit_py.data import destinations
from kvschema.catalog.federation import Delegation
from kvschema.engine import Engine
from tests.rig.admin import Console
from tests.rig.client import Client
from tests.rig.network import Network, open_network
from tests.rig.rooms import create, in_room, send


@pytest.fixture
async def network(make_engine: Callable[[], Engine]) -> AsyncIterator[Network]:
    async with open_network(make_engine, "one.test", "two.test") as network:
        yield network


@pytest.fixture
def cli(network: Network) -> Console:
    """The command line of one.test."""
    return Console(network["one.test"].built.admin.dispatcher)


async def meet(network: Network) -> tuple[Client, Client, str]:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    room_id = await create(alice, room_version="11")
    response = await bob.post(f"/join/{room_id}", {}, via="one.test")
    assert response.status == 200, response.body
    return alice, bob, room_id


async def bodies(user: Client, room_id: str) -> list[str]:
    chunk = (await user.get(in_room(room_id, "messages"), dir="b", limit="5")).json["chunk"]
    return [event["content"].get("body") for event in chunk]


async def facts(cli: Console) -> str:
    """What is said of two.test, with single spaces."""
    return " ".join((await cli.ask("federation-status two.test")).split())


async def test_server_that_fails_is_shown_and_tried_again(
    network: Network, cli: Console, autojump_clock: MockClock
) -> None:
    alice, bob, room_id = await meet(network)
    await trio.sleep(60)
    assert await cli.ask("federation-status") == "Nothing waits for any server, and none fails."
    assert "State: idle" in await facts(cli)
    network.cut("one.test", "two.test")
    for number in range(3):
        await send(alice, room_id, f"lost {number}")
    await trio.sleep(24 * 3600)
    lines = (await cli.ask("federation-status")).splitlines()
    assert lines[0] == "1 server:"
    assert lines[2].split()[:2] == ["two.test", "3"]
    assert "failing since 2023-11-14" in lines[2]
    text = await facts(cli)
    for part in ("failing since", "Rooms shared: 1", "Events that wait: 3"):
        assert part in text
    network.heal()
    await trio.sleep(5)
    assert "lost 2" not in await bodies(bob, room_id)
    assert await cli.ask("retry-destination two.test") == "two.test is being tried."
    await trio.sleep(5)
    assert "lost 2" in await bodies(bob, room_id)
    assert await cli.ask("retry-destination two.test") == "Nothing waits for two.test."


async def test_retry_destination_forgets_where_the_server_was(
    network: Network, cli: Console, autojump_clock: MockClock
) -> None:
    store = network["one.test"].store
    async with store.writer.turn() as turn:
        with store.snapshot() as snapshot:
            row = Delegation("elsewhere.test", store.now_ms() + 1_000_000)
            destinations.stage_delegation(snapshot, turn, "two.test", row)
    assert "elsewhere.test" in await cli.ask("federation-status two.test")
    await cli.ask("retry-destination two.test")
    with store.snapshot() as snapshot:
        assert destinations.get_delegation(snapshot, "two.test") is None


async def test_ping_server(network: Network, cli: Console, autojump_clock: MockClock) -> None:
    assert "conduit_py" in await cli.ask("ping-server two.test")
    network.cut("one.test", "two.test")
    assert "cannot be asked" in await cli.fail("ping-server two.test")


async def test_fetch_pdu_shows_what_another_server_has(
    network: Network, cli: Console, autojump_clock: MockClock
) -> None:
    alice, _, room_id = await meet(network)
    await trio.sleep(60)
    event_id = await send(alice, room_id, "seen by both")
    await trio.sleep(60)
    text = await cli.ask(f"fetch-pdu two.test '{event_id}'")
    assert "seen by both" in text
    assert '"signatures"' in text
    await cli.fail("fetch-pdu two.test '$nothing'")


@pytest.mark.parametrize("command", ["federation-status", "retry-destination", "ping-server"])
async def test_what_is_no_server_name_is_refused(
    network: Network, cli: Console, command: str, autojump_clock: MockClock
) -> None:
    async with network["one.test"].leaves_no_trace():
        await cli.fail(f"{command} 'no server'")
