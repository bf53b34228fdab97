"""The page on which a stage of an authentication is completed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import MockClock

from conduit_py.service.users.uia import SESSION_AGE_MS_MAX
from kvschema.engine import Engine
from tests.rig.client import Client, Response, path
from tests.rig.server import PASSWORD, Server, load_test_config, open_server

TOKEN = "m.login.registration_token"


def page_of(stage: str, session: str) -> str:
    return path("auth", stage, "fallback", "web") + f"?session={session}"


async def fill_in(server: Server, stage: str, session: str, **fields: str) -> Response:
    form = "&".join(f"{name}={value}" for name, value in fields.items())
    return await server.client().request("POST", page_of(stage, session), body=form.encode())


async def begin_deletion(user: Client) -> str:
    response = await user.delete(path("devices", user.device_id))
    assert response.status == 401
    session: str = response.json["session"]
    return session


def tells_client(page: Response) -> bool:
    return b"window.onAuthDone();" in page.body and b'window.opener.postMessage("authDone", "*");' in page.body


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice")


@pytest.fixture
async def gated(make_engine: Callable[[], Engine]) -> AsyncIterator[Server]:
    """A server that asks for a token of those who register."""
    async with open_server(make_engine(), load_test_config(REGISTRATION_TOKEN="sesame")) as gated:
        yield gated


async def test_get_auth_page_asks_for_what_the_stage_needs(server: Server, alice: Client) -> None:
    session = await begin_deletion(alice)
    async with server.leaves_no_trace():
        page = await server.client().get(page_of("m.login.password", session))
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b'name="password"' in page.body
    assert not tells_client(page)
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert re.findall(r"https?:|src=|href=", page.body.decode()) == []


async def test_complete_stage_on_page_lets_the_client_go_on_with_the_session_alone(
    server: Server, alice: Client
) -> None:
    session = await begin_deletion(alice)
    done = await fill_in(server, "m.login.password", session, password=PASSWORD.replace(" ", "+"))
    assert done.status == 200
    assert tells_client(done)
    assert tells_client(await server.client().get(page_of("m.login.password", session)))
    deleted = await alice.delete(path("devices", alice.device_id), {"auth": {"session": session}})
    assert deleted.status == 200
    assert (await alice.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    assert (await server.client().get(page_of("m.login.password", session))).status == 404


async def test_complete_stage_on_page_refuses_a_wrong_password(server: Server, alice: Client) -> None:
    session = await begin_deletion(alice)
    async with server.leaves_no_trace():
        page = await fill_in(server, "m.login.password", session, password="wrong")
    assert page.status == 400
    assert b"Wrong user name or password" in page.body
    assert not tells_client(page)
    again = await alice.delete(path("devices", alice.device_id), {"auth": {"session": session}})
    assert again.status == 401


@pytest.mark.parametrize("stage", ["m.login.dummy", TOKEN, "m.login.magic"])
async def test_auth_page_not_found_for_what_is_not_asked(server: Server, alice: Client, stage: str) -> None:
    session = await begin_deletion(alice)
    async with server.leaves_no_trace():
        assert (await server.client().get(page_of(stage, session))).status == 404
        assert (await fill_in(server, stage, session, token="x")).status == 404


@pytest.mark.parametrize("session", ["", "no%20such", "x" * 300])
async def test_auth_page_not_found_without_a_session(server: Server, session: str) -> None:
    assert (await server.client().get(page_of("m.login.dummy", session))).status == 404
    assert (await fill_in(server, "m.login.dummy", session)).status == 404


async def test_auth_page_not_found_when_it_took_too_long(
    server: Server, alice: Client, autojump_clock: MockClock
) -> None:
    session = await begin_deletion(alice)
    await trio.sleep(SESSION_AGE_MS_MAX / 1000 + 1)
    assert (await fill_in(server, "m.login.password", session, password=PASSWORD)).status == 404


async def test_register_by_the_page_without_proof(server: Server) -> None:
    client = server.client()
    session = (await client.post("/register", {})).json["session"]
    assert tells_client(await fill_in(server, "m.login.dummy", session))
    body = {"username": "bob", "password": PASSWORD, "auth": {"session": session}}
    assert (await client.post("/register", body)).json["user_id"] == "@bob:one.test"


async def test_register_by_the_page_with_the_configured_token(gated: Server) -> None:
    client = gated.client()
    session = (await client.post("/register", {})).json["session"]
    async with gated.leaves_no_trace():
        assert (await fill_in(gated, TOKEN, session, token="simsim")).status == 400
    assert tells_client(await fill_in(gated, TOKEN, session, token="sesame"))
    body = {"username": "bob", "password": PASSWORD, "auth": {"session": session}}
    assert (await client.post("/register", body)).status == 200
    assert (await client.post("/register", body | {"username": "carol"})).status == 401


async def test_register_by_the_page_counts_for_the_token_when_the_account_is_made(gated: Server) -> None:
    tokens = gated.services.accounts.registration_tokens
    token = await tokens.create(uses_max=1)
    client = gated.client()
    sessions = [(await client.post("/register", {})).json["session"] for _ in range(2)]
    for session in sessions:
        assert tells_client(await fill_in(gated, TOKEN, session, token=token))
    assert tokens.get_tokens()[token].uses == 0
    body = {"username": "bob", "password": PASSWORD, "auth": {"session": sessions[0]}}
    assert (await client.post("/register", body)).status == 200
    assert tokens.get_tokens()[token].uses == 1
    async with gated.leaves_no_trace():
        late = {"username": "carol", "password": PASSWORD, "auth": {"session": sessions[1]}}
        assert (await client.post("/register", late)).outcome == (403, "M_FORBIDDEN")
