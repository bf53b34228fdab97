"""The commands about events as servers exchange them, and about signatures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kvschema.engine import Engine
from tests.rig.admin import Console
from tests.rig.client import Client
from tests.rig.network import Network, open_network
from tests.rig.rooms import create, in_room, send

EVENT = {
    "type": "m.room.message",
    "room_id": "!room:one.test",
    "sender": "@alice:one.test",
    "content": {"body": "hello"},
    "origin_server_ts": 1,
    "depth": 1,
    "prev_events": [],
    "auth_events": [],
}


@pytest.fixture
async def network(make_engine: Callable[[], Engine]) -> AsyncIterator[Network]:
    async with open_network(make_engine, "one.test", "two.test") as network:
        yield network


@pytest.fixture
def cli(network: Network) -> Console:
    """The command line of one.test."""
    return Console(network["one.test"].built.admin.dispatcher)


@pytest.fixture
async def alice(network: Network) -> Client:
    return await network["one.test"].register("alice")


def with_body(command: str, body: Any) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    return f"{command}\n```json\n{text}\n```"


def parse(text: str) -> Any:
    return json.loads(text[text.index("{") :])


async def test_get_pdu_shows_the_event_and_how_it_stands(
    cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    room_id = await create(alice, room_version="11")
    event_id = await send(alice, room_id, "hello")
    text = await cli.ask(f"get-pdu '{event_id}'")
    assert text.startswith("accepted, at place ")
    pdu = parse(text)
    assert (pdu["content"]["body"], pdu["room_id"]) == ("hello", room_id)
    assert {"hashes", "signatures", "auth_events", "prev_events", "depth"} <= pdu.keys()
    response = await alice.put(in_room(room_id, "redact", event_id, "1"), {})
    assert response.status == 200
    text = await cli.ask(f"get-pdu '{event_id}'")
    assert ", redacted\n" in text
    assert parse(text)["content"] == {}


async def test_get_auth_chain_counts(cli: Console, alice: Client, autojump_clock: MockClock) -> None:
    room_id = await create(alice, room_version="11")
    event_id = await send(alice, room_id, "hello")
    assert "has 3 events" in await cli.ask(f"get-auth-chain '{event_id}'")


@pytest.mark.parametrize("command", ["get-pdu", "get-auth-chain"])
async def test_events_that_are_not_here(cli: Console, command: str, autojump_clock: MockClock) -> None:
    assert "does not have" in await cli.fail(f"{command} '$nothing'")
    await cli.fail(f"{command} nonsense")


async def test_event_that_is_hashed_and_signed_is_an_event(
    cli: Console, network: Network, autojump_clock: MockClock
) -> None:
    signed = await cli.ask(with_body("hash-and-sign-event 11", EVENT))
    event_id, pdu = signed.splitlines()[0], parse(signed)
    assert "one.test" in pdu["signatures"]
    text = await cli.ask(with_body("parse-pdu --room-version 11", pdu))
    assert f"Event id: {event_id}" in text
    assert "Content hash: right" in text
    assert "signed by: one.test" in text
    changed = {**pdu, "content": {"body": "changed"}}
    assert "Content hash: wrong" in await cli.ask(with_body("parse-pdu --room-version 11", changed))


async def test_event_of_the_first_versions_has_its_own_id(cli: Console, autojump_clock: MockClock) -> None:
    assert "event_id" in await cli.fail(with_body("hash-and-sign-event 1", EVENT))
    signed = await cli.ask(with_body("hash-and-sign-event 1", {**EVENT, "event_id": "$own:one.test"}))
    assert signed.startswith("$own:one.test\n")


@pytest.mark.parametrize(
    "command",
    [
        "parse-pdu",
        with_body("parse-pdu", "{"),
        with_body("parse-pdu", "[]"),
        with_body("parse-pdu", {"type": "m.room.message"}),
        with_body("parse-pdu --room-version 0", EVENT),
        with_body("hash-and-sign-event 0", EVENT),
        with_body("hash-and-sign-event", EVENT),
        with_body("hash-and-sign-event 11", {**EVENT, "depth": "deep"}),
        "sign-json",
        with_body("sign-json", "nonsense"),
        with_body("verify-json", {}),
        with_body("verify-json", {"signatures": "none"}),
    ],
)
async def test_what_cannot_be_read_changes_nothing(
    network: Network, cli: Console, command: str, autojump_clock: MockClock
) -> None:
    async with network["one.test"].leaves_no_trace():
        await cli.fail(command)


async def test_signatures_are_made_and_verified_across_servers(
    network: Network, cli: Console, autojump_clock: MockClock
) -> None:
    two = Console(network["two.test"].built.admin.dispatcher)
    signed = parse(await cli.ask(with_body("sign-json", {"hello": "there"})))
    both = parse(await two.ask(with_body("sign-json", signed)))
    assert set(both["signatures"]) == {"one.test", "two.test"}
    for console in (cli, two):
        lines = (await console.ask(with_body("verify-json", both))).splitlines()
        assert len(lines) == 2
        assert all(line.endswith(": right") for line in lines)
    assert "wrong" in await cli.fail(with_body("verify-json", {**both, "hello": "you"}))
    network.cut("one.test", "two.test")
    await trio.sleep(1)
    unknown = {**both, "signatures": {"three.test": both["signatures"]["two.test"]}}
    assert "cannot be had" in await cli.fail(with_body("verify-json", unknown))


async def test_nobody_is_shown_the_private_key(network: Network, cli: Console, autojump_clock: MockClock) -> None:
    seed = network["one.test"].built.federation.own_keys.signing_key.seed
    text = await cli.ask(with_body("sign-json", {}))
    assert seed.hex() not in text
