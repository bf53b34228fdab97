"""The page on which somebody chooses a password."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from conduit_py.data import users
from conduit_py.matrix.ids import UserId
from conduit_py.service.users.password_links import LIFETIME_MS, PATH
from tests.rig.client import Client, Response
from tests.rig.server import PASSWORD, Server


async def make_link(server: Server, client: Client) -> str:
    """The token in it."""
    with server.store.snapshot() as snapshot:
        found = users.get_local(snapshot, UserId(client.user_id))
    assert found is not None
    link = await server.services.accounts.password_links.create(found[0])
    assert link.startswith(f"https://one.test{PATH}?token=")
    return link.rpartition("=")[2]


async def open_page(server: Server, token: str) -> Response:
    return await server.client().get(PATH, token=token)


async def fill_in(server: Server, token: str, password: str, again: str) -> Response:
    form = f"token={token}&password={password}&again={again}".encode()
    return await server.client().request("POST", PATH, body=form)


async def test_get_password_page_asks_for_a_password(server: Server) -> None:
    alice = await server.register("alice")
    token = await make_link(server, alice)
    async with server.leaves_no_trace():
        page = await open_page(server, token)
    assert page.status == 200
    assert token.encode() in page.body
    assert b"<b>@alice:one.test</b>" in page.body
    assert "script" not in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"


async def test_set_password_on_page_changes_it_and_closes_sessions(server: Server) -> None:
    alice = await server.register("alice")
    token = await make_link(server, alice)
    assert (await fill_in(server, token, "new+one", "new+one")).status == 200
    assert (await alice.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    body = {"type": "m.login.password", "user": "alice"}
    assert (await server.client().post("/login", {**body, "password": "new one"})).status == 200
    assert (await server.client().post("/login", {**body, "password": PASSWORD})).status == 403
    async with server.leaves_no_trace():
        assert (await fill_in(server, token, "again", "again")).status == 404
        assert (await open_page(server, token)).status == 404


@pytest.mark.parametrize(("password", "again"), [("one", "two"), ("", "")])
async def test_set_password_on_page_refuses_what_is_no_password(server: Server, password: str, again: str) -> None:
    alice = await server.register("alice")
    token = await make_link(server, alice)
    async with server.leaves_no_trace():
        page = await fill_in(server, token, password, again)
        assert page.status == 400
        assert b'role="alert"' in page.body
        assert b"<form" in page.body


async def test_link_is_good_for_a_day(server: Server, mock_clock: MockClock) -> None:
    alice = await server.register("alice")
    token = await make_link(server, alice)
    mock_clock.jump(LIFETIME_MS / 1000)
    async with server.leaves_no_trace():
        assert (await fill_in(server, token, "new", "new")).status == 404


async def test_newer_link_replaces_the_older(server: Server) -> None:
    alice = await server.register("alice")
    older, newer = await make_link(server, alice), await make_link(server, alice)
    assert (await open_page(server, older)).status == 404
    assert (await open_page(server, newer)).status == 200


async def test_link_is_used_once_by_two_at_once(server: Server) -> None:
    alice = await server.register("alice")
    token = await make_link(server, alice)
    statuses: list[int] = []

    async def use(password: str) -> None:
        statuses.append((await fill_in(server, token, password, password)).status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, "one")
        nursery.start_soon(use, "two")
    assert sorted(statuses) == [200, 404]


async def test_link_to_a_deactivated_account_opens_nothing(server: Server) -> None:
    alice = await server.register("alice")
    token = await make_link(server, alice)
    await server.change_account(alice, is_deactivated=True)
    async with server.leaves_no_trace():
        assert (await fill_in(server, token, "new", "new")).status == 403


@pytest.mark.parametrize("token", ["", "nonsense", "<script>"])
async def test_get_password_page_without_a_link_is_refused(server: Server, token: str) -> None:
    page = await open_page(server, token)
    assert page.status == 404
    assert b"<script>" not in page.body


async def test_password_page_has_no_pages_below(server: Server) -> None:
    assert (await server.client().get(PATH + "x")).status == 404
