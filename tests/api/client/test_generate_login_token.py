"""``POST /_matrix/client/v1/login/get_token`` and logging in with what it gives"""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.rig.auth import by_password
from tests.rig.client import Client, Response
from tests.rig.server import Server

GET_TOKEN = "/_matrix/client/v1/login/get_token"


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice")


async def generate(user: Client) -> str:
    token: str = (await user.post(GET_TOKEN, {"auth": by_password(user)})).json["login_token"]
    return token


async def log_in(server: Server, token: Any, **more: Any) -> Response:
    return await server.client().post("/login", {"type": "m.login.token", "token": token, **more})


async def test_generate_login_token_lets_another_client_in(server: Server, alice: Client) -> None:
    response = await alice.post(GET_TOKEN, {"auth": by_password(alice)})
    assert response.json["expires_in_ms"] == 120_000
    opened = await log_in(server, response.json["login_token"], device_id="PHONE")
    phone = server.client()
    phone.use_session(opened.json)
    assert (await phone.get("/account/whoami")).json["user_id"] == alice.user_id
    assert (await phone.get("/devices/PHONE")).status == 200
    assert (await alice.get("/account/whoami")).status == 200


async def test_generate_login_token_is_good_for_one_login(server: Server, alice: Client) -> None:
    token = await generate(alice)
    assert (await log_in(server, token)).status == 200
    async with server.leaves_no_trace():
        assert (await log_in(server, token)).outcome == (403, "M_FORBIDDEN")


async def test_generate_login_token_is_good_for_one_of_two_at_once(server: Server, alice: Client) -> None:
    token = await generate(alice)
    statuses: list[int] = []

    async def use() -> None:
        statuses.append((await log_in(server, token)).status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        nursery.start_soon(use)
    assert sorted(statuses) == [200, 403]


async def test_generate_login_token_ends_after_two_minutes(
    server: Server, alice: Client, autojump_clock: trio.testing.MockClock
) -> None:
    early, late = await generate(alice), await generate(alice)
    await trio.sleep(119)
    assert (await log_in(server, early)).status == 200
    await trio.sleep(2)
    async with server.leaves_no_trace():
        assert (await log_in(server, late)).outcome == (403, "M_FORBIDDEN")


async def test_generate_login_token_stores_a_hash_only(server: Server, alice: Client) -> None:
    token = await generate(alice)
    assert not any(token.encode() in part for rows in server.dump().values() for row in rows for part in row)


async def test_generate_login_token_asks_for_the_password_every_time(server: Server, alice: Client) -> None:
    first = await alice.post(GET_TOKEN, {})
    assert first.status == 401
    body = {"auth": by_password(alice) | {"session": first.json["session"]}}
    assert (await alice.post(GET_TOKEN, body)).status == 200
    assert (await alice.post(GET_TOKEN, {"auth": {"session": first.json["session"]}})).status == 401
    assert (await alice.post(GET_TOKEN)).status == 401


async def test_generate_login_token_forbidden_by_a_wrong_password(server: Server, alice: Client) -> None:
    session = (await alice.post(GET_TOKEN, {})).json["session"]
    body = {"auth": by_password(alice, "wrong") | {"session": session}}
    async with server.leaves_no_trace():
        assert (await alice.post(GET_TOKEN, body)).outcome == (401, "M_FORBIDDEN")


async def test_generate_login_token_missing_token(server: Server) -> None:
    assert (await server.client().post(GET_TOKEN, {})).outcome == (401, "M_MISSING_TOKEN")


async def test_login_with_a_token_user_locked(server: Server, alice: Client) -> None:
    token = await generate(alice)
    await server.change_account(alice, is_locked=True)
    assert (await log_in(server, token)).outcome == (401, "M_USER_LOCKED")


@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        (None, (400, "M_MISSING_PARAM")),
        (7, (400, "M_BAD_JSON")),
        ("", (403, "M_FORBIDDEN")),
        ("unheard of", (403, "M_FORBIDDEN")),
    ],
)
async def test_login_with_a_token_refused(server: Server, alice: Client, token: Any, outcome: tuple[int, str]) -> None:
    async with server.leaves_no_trace():
        assert (await log_in(server, token)).outcome == outcome


async def test_generate_login_token_bad_json(server: Server, alice: Client) -> None:
    async with server.leaves_no_trace():
        assert (await alice.post(GET_TOKEN, {"auth": "m.login.password"})).outcome == (400, "M_BAD_JSON")
