"""``POST /_matrix/client/v3/refresh``"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from kvschema.engine import Engine
from tests.rig.client import Client
from tests.rig.server import Server, load_test_config, open_server

UNKNOWN = (401, "M_UNKNOWN_TOKEN")


@pytest.fixture
async def server(make_engine: Callable[[], Engine]) -> AsyncIterator[Server]:
    """A server whose access tokens last an hour."""
    async with open_server(make_engine(), load_test_config(ACCESS_TOKEN_TTL='"1h"')) as server:
        yield server


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice", refresh_token=True)


async def refresh(server: Server, refresh_token: str | None) -> Client:
    client = server.client()
    response = await client.post("/refresh", {"refresh_token": refresh_token})
    assert response.status == 200, response.body
    client.access_token, client.refresh_token = response.json["access_token"], response.json["refresh_token"]
    return client


async def test_refresh_gives_new_tokens_of_the_same_device(server: Server, alice: Client) -> None:
    response = await server.client().post("/refresh", {"refresh_token": alice.refresh_token})
    assert response.json["expires_in_ms"] == 3_600_000
    newer = await refresh(server, alice.refresh_token)
    assert (await newer.get("/account/whoami")).json["device_id"] == alice.device_id


async def test_refresh_keeps_the_old_tokens_until_a_new_one_is_used(server: Server, alice: Client) -> None:
    newer = await refresh(server, alice.refresh_token)
    assert (await alice.get("/account/whoami")).status == 200
    assert (await newer.get("/account/whoami")).status == 200
    await trio.testing.wait_all_tasks_blocked()
    assert (await alice.get("/account/whoami")).outcome == UNKNOWN
    async with server.leaves_no_trace():
        response = await server.client().post("/refresh", {"refresh_token": alice.refresh_token})
    assert response.outcome == UNKNOWN
    assert (await newer.get("/account/whoami")).status == 200


async def test_refresh_again_when_the_answer_was_lost(server: Server, alice: Client) -> None:
    lost = await refresh(server, alice.refresh_token)
    newer = await refresh(server, alice.refresh_token)
    assert (await lost.get("/account/whoami")).outcome == UNKNOWN
    assert (await newer.get("/account/whoami")).status == 200


async def test_refresh_with_the_new_refresh_token_ends_the_old_ones(server: Server, alice: Client) -> None:
    newer = await refresh(server, alice.refresh_token)
    newest = await refresh(server, newer.refresh_token)
    assert (await alice.get("/account/whoami")).outcome == UNKNOWN
    assert (await newer.get("/account/whoami")).status == 200
    assert (await newest.get("/account/whoami")).status == 200


async def test_refresh_unknown_token_right_after_its_successor_was_used(server: Server, alice: Client) -> None:
    newer = await refresh(server, alice.refresh_token)
    await newer.get("/account/whoami")
    response = await server.client().post("/refresh", {"refresh_token": alice.refresh_token})
    assert response.outcome == UNKNOWN


async def test_refresh_keeps_few_rows(server: Server, alice: Client) -> None:
    newer = alice
    for _ in range(5):
        newer = await refresh(server, newer.refresh_token)
        await refresh(server, newer.refresh_token)
        assert len(server.dump()["token_userdeviceid"]) <= 4


async def test_refresh_revives_an_expired_session(
    server: Server, alice: Client, autojump_clock: trio.testing.MockClock
) -> None:
    await trio.sleep(3600)
    response = await alice.get("/account/whoami")
    assert response.outcome == UNKNOWN
    assert response.json["soft_logout"] is True
    newer = await refresh(server, alice.refresh_token)
    assert (await newer.get("/account/whoami")).status == 200


@pytest.mark.parametrize("token", ["", "guess"])
async def test_refresh_unknown_token(server: Server, alice: Client, token: str) -> None:
    async with server.leaves_no_trace():
        assert (await server.client().post("/refresh", {"refresh_token": token})).outcome == UNKNOWN


async def test_refresh_unknown_token_when_it_is_an_access_token(server: Server, alice: Client) -> None:
    async with server.leaves_no_trace():
        assert (await server.client().post("/refresh", {"refresh_token": alice.access_token})).outcome == UNKNOWN


async def test_refresh_token_opens_nothing_itself(server: Server, alice: Client) -> None:
    client = server.client()
    client.access_token = alice.refresh_token
    assert (await client.get("/account/whoami")).outcome == UNKNOWN


async def test_refresh_unknown_token_after_logout(server: Server, alice: Client) -> None:
    await alice.post("/logout")
    assert (await server.client().post("/refresh", {"refresh_token": alice.refresh_token})).outcome == UNKNOWN


async def test_refresh_user_locked(server: Server, alice: Client) -> None:
    await server.change_account(alice, is_locked=True)
    async with server.leaves_no_trace():
        response = await server.client().post("/refresh", {"refresh_token": alice.refresh_token})
    assert response.outcome == (401, "M_USER_LOCKED")


async def test_refresh_missing_param(server: Server) -> None:
    assert (await server.client().post("/refresh", {})).outcome == (400, "M_MISSING_PARAM")


async def test_login_of_a_client_that_cannot_refresh_never_expires(
    server: Server, alice: Client, autojump_clock: trio.testing.MockClock
) -> None:
    old_client = await server.log_in(alice)
    assert old_client.refresh_token is None
    await trio.sleep(365 * 24 * 3600)
    assert (await old_client.get("/account/whoami")).status == 200
