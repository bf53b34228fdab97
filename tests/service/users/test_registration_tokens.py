"""Tokens that administrators make for people to register with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from conduit_py.service.errors import InvalidParam, LimitExceeded, NotFound
from conduit_py.service.users import registration_tokens
from conduit_py.service.users.registration_tokens import RegistrationTokenService
from kvschema.engine import Engine
from tests.rig.client import Response
from tests.rig.server import PASSWORD, START_MS, Server, load_test_config, open_server

VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"


@pytest.fixture
async def closed(make_engine: Callable[[], Engine]) -> AsyncIterator[Server]:
    """A server that has its administrator, and where nobody can register without a token."""
    async with open_server(make_engine(), load_test_config(ALLOW_REGISTRATION="false")) as server:
        await server.services.accounts.register.create_account("admin", None, is_admin=True)
        yield server


@pytest.fixture
def tokens(closed: Server) -> RegistrationTokenService:
    return closed.services.accounts.registration_tokens


async def register(server: Server, name: str, token: str) -> Response:
    auth = {"type": "m.login.registration_token", "token": token}
    return await server.client().post("/register", {"username": name, "password": PASSWORD, "auth": auth})


async def is_valid(server: Server, token: str) -> bool:
    valid: bool = (await server.client().get(VALIDITY, token=token)).json["valid"]
    return valid


async def test_token_opens_a_closed_registration(closed: Server, tokens: RegistrationTokenService) -> None:
    token = await tokens.create()
    assert await is_valid(closed, token)
    assert (await register(closed, "alice", token)).status == 200
    assert (await register(closed, "bob", token)).status == 200
    assert tokens.get_tokens()[token].uses == 2


async def test_registration_is_closed_while_there_is_no_token(closed: Server, tokens: RegistrationTokenService) -> None:
    await tokens.create("SOON-OVER", expires_ms=START_MS - 1)
    async with closed.leaves_no_trace():
        assert (await register(closed, "alice", "SOON-OVER")).outcome == (403, "M_FORBIDDEN")
    assert (await closed.client().get(VALIDITY, token="SOON-OVER")).outcome == (403, "M_FORBIDDEN")


async def test_token_is_good_for_as_many_accounts_as_it_says(closed: Server, tokens: RegistrationTokenService) -> None:
    await tokens.create("TWICE", uses_max=2)
    await tokens.create("OTHER")
    for name in ("alice", "bob"):
        assert (await register(closed, name, "TWICE")).status == 200
    assert not await is_valid(closed, "TWICE")
    assert (await register(closed, "carol", "TWICE")).outcome == (401, "M_FORBIDDEN")


async def test_token_for_one_account_makes_one_of_many_at_once(
    closed: Server, tokens: RegistrationTokenService
) -> None:
    await tokens.create("ONCE", uses_max=1)
    statuses: list[int] = []

    async def attempt(name: str) -> None:
        statuses.append((await register(closed, name, "ONCE")).status)

    async with trio.open_nursery() as nursery:
        for name in ("alice", "bob", "carol"):
            nursery.start_soon(attempt, name)
    assert statuses.count(200) == 1
    assert tokens.get_tokens()["ONCE"].uses == 1


async def test_token_is_not_used_up_by_a_name_that_is_taken(closed: Server, tokens: RegistrationTokenService) -> None:
    await tokens.create("ONCE", uses_max=1)
    assert (await register(closed, "admin", "ONCE")).outcome == (400, "M_USER_IN_USE")
    assert await is_valid(closed, "ONCE")


async def test_token_ends_in_time(
    closed: Server, tokens: RegistrationTokenService, autojump_clock: trio.testing.MockClock
) -> None:
    await tokens.create("SHORT", expires_ms=START_MS + 60_000)
    await tokens.create("LONG")
    assert await is_valid(closed, "SHORT")
    await trio.sleep(60)
    assert not await is_valid(closed, "SHORT")


async def test_deleted_token_opens_nothing(closed: Server, tokens: RegistrationTokenService) -> None:
    await tokens.create("GONE")
    await tokens.create("THERE")
    await tokens.delete("GONE")
    assert not await is_valid(closed, "GONE")
    assert set(tokens.get_tokens()) == {"THERE"}
    with pytest.raises(NotFound):
        await tokens.delete("GONE")


@pytest.mark.parametrize("token", ["", "a b", "ö", "x" * 65, "a/b", "a\n"])
async def test_token_of_other_characters_is_refused(
    closed: Server, tokens: RegistrationTokenService, token: str
) -> None:
    async with closed.leaves_no_trace():
        with pytest.raises(InvalidParam):
            await tokens.create(token)
    await tokens.create("THERE")
    assert not await is_valid(closed, token)


async def test_token_is_not_made_twice(closed: Server, tokens: RegistrationTokenService) -> None:
    await tokens.create("x" * 64)
    async with closed.leaves_no_trace():
        with pytest.raises(InvalidParam):
            await tokens.create("x" * 64)
    async with closed.leaves_no_trace():
        with pytest.raises(InvalidParam):
            await tokens.create("NEVER", uses_max=0)


async def test_tokens_are_bounded(
    closed: Server, tokens: RegistrationTokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration_tokens, "REGISTRATION_TOKENS_MAX", 2)
    await tokens.create()
    await tokens.create()
    async with closed.leaves_no_trace():
        with pytest.raises(LimitExceeded):
            await tokens.create()


async def test_token_is_one_way_in_where_registration_is_open(server: Server) -> None:
    await server.register("admin")
    await server.services.accounts.registration_tokens.create("WORD")
    response = await server.client().post("/register", {})
    assert response.json["flows"] == [{"stages": ["m.login.registration_token"]}, {"stages": ["m.login.dummy"]}]
    assert (await register(server, "alice", "WORD")).status == 200
    await server.register("bob")
