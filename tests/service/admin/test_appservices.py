"""The commands about application services."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from conduit_py.data import appservices as data
from tests.rig.admin import Console, enter
from tests.rig.bridge import AS_TOKEN, SENDER, Wires, bridge_of, register_ghost, registration, write_registrations
from tests.rig.rooms import create, join
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


@asynccontextmanager
async def open_bridged(server: Server, wires: Wires, **overrides: str) -> AsyncIterator[tuple[WholeServer, Console]]:
    async with open_whole(server, wires, **overrides) as whole:
        await whole.admin.prepare()
        yield whole, Console(whole.admin.dispatcher)


def register(**changes: Any) -> str:
    return f"register-appservice\n```yaml\n{orjson.dumps(registration(**changes)).decode()}\n```"


async def test_application_service_works_at_once_and_after_a_restart(server: Server) -> None:
    wires = Wires()
    async with open_bridged(server, wires) as (whole, cli):
        alice = await whole.register("alice")
        assert await cli.ask("list-appservices") == "Found 0 application services."
        assert await cli.ask(register()) == "The application service irc is registered."
        found = "Found 1 application service:\nirc  http://127.0.0.1:9  by command"
        assert await cli.ask("list-appservices") == found
        bridge = bridge_of(whole)
        assert (await bridge.get("/account/whoami")).json["user_id"] == SENDER
        ghost = bridge_of(whole)
        ghost.user_id = await register_ghost(bridge, "_irc_bob")
        room_id = await create(alice, preset="public_chat")
        await join(bridge, room_id)
        await trio.testing.wait_all_tasks_blocked()
        assert wires.transactions()
    async with open_bridged(server, wires) as (whole, cli):
        assert await cli.ask("list-appservices") == found
        assert (await bridge_of(whole).get("/account/whoami")).json["user_id"] == SENDER


async def test_application_service_that_is_unregistered_is_none(server: Server) -> None:
    wires = Wires()
    async with open_bridged(server, wires) as (whole, cli):
        alice = await whole.register("alice")
        await cli.ask(register())
        room_id = await create(alice, preset="public_chat")
        await join(bridge_of(whole), room_id)
        wires.answer = lambda asked: (500, {})
        await alice.put(f"/rooms/{room_id}/send/m.room.message/1", {"msgtype": "m.text", "body": "hello"})
        await trio.testing.wait_all_tasks_blocked()
        assert await cli.ask("unregister-appservice irc") == "irc is no application service any more."
        assert (await bridge_of(whole).get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
        with whole.store.snapshot() as snapshot:
            assert list(data.scan_events(snapshot, "irc")) == []
            assert data.get_sending(snapshot, "irc") is None
        sent = len(wires.asked)
        await alice.put(f"/rooms/{room_id}/send/m.room.message/2", {"msgtype": "m.text", "body": "still there?"})
        await trio.testing.wait_all_tasks_blocked()
        assert len(wires.asked) == sent
        await cli.ask(register(as_token="another"))
        assert (await bridge_of(whole, "another").get("/account/whoami")).json["user_id"] == SENDER
    async with open_bridged(server, wires) as (whole, cli):
        assert await cli.ask("unregister-appservice irc") == "irc is no application service any more."
    async with open_bridged(server, wires) as (whole, cli):
        assert await cli.ask("list-appservices") == "Found 0 application services."


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("register-appservice", "missing"),
        ("register-appservice\n```\n: [\n```", "not YAML"),
        ("register-appservice\n```\nid: irc\n```", "cannot be used: namespaces"),
        (register(), "unregister it first"),
        (register(id="other"), "another application service's"),
        (register(id="other", as_token="x", sender_localpart="conduit"), "the server itself"),
        ("unregister-appservice nonsense", "no application service nonsense"),
    ],
)
async def test_registration_that_cannot_be_is_refused(server: Server, command: str, why: str) -> None:
    async with open_bridged(server, Wires()) as (whole, cli):
        await whole.register("alice")
        await cli.ask(register())
        async with whole.leaves_no_trace():
            assert why in await cli.fail(command)


async def test_what_the_configuration_names_comes_first(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_bridged(server, Wires()) as (_, cli):
        await cli.ask(register(as_token="kept"))
    files = write_registrations(tmp_path, registration())
    async with open_bridged(server, Wires(), **files) as (whole, cli):
        assert [it for it in caplog.records if it.levelno == logging.WARNING and "passed over" in it.message]
        assert (await bridge_of(whole, AS_TOKEN).get("/account/whoami")).status == 200
        assert (await bridge_of(whole, "kept").get("/account/whoami")).status == 401


async def test_application_service_of_a_file_is_not_unregistered_by_command(server: Server, tmp_path: Path) -> None:
    files = write_registrations(tmp_path, registration())
    async with open_bridged(server, Wires(), **files) as (whole, cli), whole.leaves_no_trace():
        assert "registered by a file" in await cli.fail("unregister-appservice irc")


async def test_secrets_of_a_registration_do_not_stay_in_the_room(server: Server) -> None:
    async with open_bridged(server, Wires()) as (whole, _):
        alice = await enter(await whole.register("alice"))
        answer = await alice.ask(register(as_token="very secret"))
        assert answer.endswith("The application service irc is registered.")
        assert "very secret" not in str(await alice.read_all())
        await alice.ask("register-appservice\n```\nas_token: very secret")
        assert "very secret" not in str(await alice.read_all())
