"""The commands about who may make an account."""

from __future__ import annotations

import re

import pytest

from tests.rig.admin import Chat, Console
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


@pytest.fixture
def cli(whole: WholeServer, alice: Chat) -> Console:
    return Console(whole.admin.dispatcher)


async def can_register(whole: WholeServer, name: str, **auth: str) -> bool:
    body = {"username": name, "password": "x", "auth": {"type": "m.login.dummy", **auth}}
    return (await whole.client().post("/register", body)).status == 200


async def test_closing_registration_is_kept(server: Server) -> None:
    async with open_whole(server) as whole:
        await whole.register("alice")
        cli = Console(whole.admin.dispatcher)
        assert await cli.ask("allow-registration") == "Registration is open to everybody."
        assert await cli.ask("allow-registration false") == (
            "Registration is closed, and stays so when the server is restarted. Tokens made here still work."
        )
        assert not await can_register(whole, "bob")
    async with open_whole(server) as whole:
        assert not await can_register(whole, "bob")
        cli = Console(whole.admin.dispatcher)
        assert await cli.ask("allow-registration true") == "Registration is open to everybody."
        assert await can_register(whole, "bob")
    async with open_whole(server) as whole:
        assert await can_register(whole, "carol")


async def test_opening_registration_lasts_until_the_restart(server: Server) -> None:
    async with open_whole(server) as whole:
        await whole.register("alice")
    async with open_whole(server, ALLOW_REGISTRATION="false") as whole:
        cli = Console(whole.admin.dispatcher)
        assert "closed by the configuration" in await cli.ask("allow-registration")
        assert "until the server is restarted" in await cli.ask("allow-registration true")
        assert await can_register(whole, "bob")
    async with open_whole(server, ALLOW_REGISTRATION="false") as whole:
        assert not await can_register(whole, "carol")


async def test_closing_registration_takes_the_configured_token_too(server: Server) -> None:
    async with open_whole(server) as whole:
        await whole.register("alice")
    async with open_whole(server, REGISTRATION_TOKEN="sesame") as whole:
        token = {"type": "m.login.registration_token", "token": "sesame"}
        assert await can_register(whole, "bob", **token)
        cli = Console(whole.admin.dispatcher)
        assert "whoever has the token" in await cli.ask("allow-registration")
        await cli.ask("allow-registration false")
        assert not await can_register(whole, "carol", **token)


async def test_word_that_is_neither_is_refused(whole: WholeServer, cli: Console) -> None:
    async with whole.leaves_no_trace():
        assert "Invalid value" in await cli.fail("allow-registration perhaps")


async def test_token_made_by_an_administrator_opens_what_is_closed(whole: WholeServer, cli: Console) -> None:
    await cli.ask("allow-registration false")
    assert "sesame  0 of 1 account" in await cli.ask("create-registration-token sesame --uses 1")
    token = {"type": "m.login.registration_token", "token": "sesame"}
    assert await can_register(whole, "bob", **token)
    assert await cli.ask("list-registration-tokens") == "Found 1 registration token:\nsesame  1 of 1 account"
    assert not await can_register(whole, "carol", **token)


async def test_token_is_revoked(whole: WholeServer, cli: Console) -> None:
    made = (await cli.ask("create-registration-token")).splitlines()[-1].split()[0]
    await cli.ask(f"revoke-registration-token {made}")
    assert not await can_register(whole, "bob", type="m.login.registration_token", token=made)
    async with whole.leaves_no_trace():
        assert "no such" in await cli.fail(f"revoke-registration-token {made}")


async def test_token_may_expire(whole: WholeServer, cli: Console) -> None:
    text = await cli.ask("create-registration-token sesame --expires 2d")
    assert re.fullmatch(r"sesame  0 accounts, until 2023-11-\d\d \d\d:\d\d UTC", text.splitlines()[-1])
    expires_ms = whole.services.accounts.registration_tokens.get_tokens()["sesame"].expires_ms
    assert 0 <= whole.store.now_ms() + 2 * 86_400_000 - expires_ms < 60_000


@pytest.mark.parametrize("options", ["--expires soon", "--expires 7", "--uses 0", "'not one'"])
async def test_token_that_makes_no_sense_is_refused(whole: WholeServer, cli: Console, options: str) -> None:
    async with whole.leaves_no_trace():
        await cli.fail(f"create-registration-token {options}")
