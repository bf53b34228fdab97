"""``POST /_matrix/client/v3/user/{userId}/openid/request_token``"""

from __future__ import annotations

import pytest
import trio
import trio.testing

from kvschema.catalog.users import OPENID_TOKENS_PER_USER_MAX
from tests.rig.client import Client
from tests.rig.server import Server


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice")


async def request(user: Client) -> str:
    token: str = (await user.post(user.user_path("openid", "request_token"), {})).json["access_token"]
    return token


async def test_request_open_id_token_proves_who_one_is(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    response = await alice.post(alice.user_path("openid", "request_token"), {})
    assert response.json["token_type"] == "Bearer"
    assert response.json["matrix_server_name"] == "one.test"
    assert response.json["expires_in"] == 3600
    openid = server.services.accounts.openid
    assert openid.get_user(response.json["access_token"]) == alice.user_id
    assert openid.get_user(await request(bob)) == bob.user_id


async def test_request_open_id_token_opens_no_session(server: Server, alice: Client) -> None:
    alice.access_token = await request(alice)
    assert (await alice.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")


async def test_request_open_id_token_ends_in_time(
    server: Server, alice: Client, autojump_clock: trio.testing.MockClock
) -> None:
    token = await request(alice)
    await trio.sleep(3599)
    assert server.services.accounts.openid.get_user(token) == alice.user_id
    await trio.sleep(1)
    assert server.services.accounts.openid.get_user(token) is None


async def test_request_open_id_token_drops_the_oldest_of_too_many(
    server: Server, alice: Client, autojump_clock: trio.testing.MockClock
) -> None:
    tokens = []
    for _ in range(OPENID_TOKENS_PER_USER_MAX + 1):
        tokens.append(await request(alice))
        await trio.sleep(1)
    found = [server.services.accounts.openid.get_user(token) for token in tokens]
    assert found == [None] + [alice.user_id] * OPENID_TOKENS_PER_USER_MAX


async def test_request_open_id_token_stores_a_hash_only(server: Server, alice: Client) -> None:
    token = await request(alice)
    assert not any(token.encode() in part for rows in server.dump().values() for row in rows for part in row)


@pytest.mark.parametrize("token", ["", ".", "x", "-1.x", "zz.x", "1." + "x" * 43, "ffffffffffffffff.x", "1" * 99, "²."])
async def test_openid_token_that_was_never_given_proves_nothing(server: Server, alice: Client, token: str) -> None:
    assert server.services.accounts.openid.get_user(token) is None


async def test_openid_token_of_the_locked_proves_nothing(server: Server, alice: Client) -> None:
    token = await request(alice)
    await server.change_account(alice, is_locked=True)
    assert server.services.accounts.openid.get_user(token) is None


async def test_request_open_id_token_forbidden_for_others(server: Server, alice: Client) -> None:
    await server.register("bob")
    async with server.leaves_no_trace():
        response = await alice.post("/user/@bob:one.test/openid/request_token", {})
    assert response.outcome == (403, "M_FORBIDDEN")


async def test_request_open_id_token_missing_token(server: Server) -> None:
    response = await server.client().post("/user/@bob:one.test/openid/request_token", {})
    assert response.outcome == (401, "M_MISSING_TOKEN")
