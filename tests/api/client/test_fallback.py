"""Pages for clients that can only log in or register in a browser."""

from __future__ import annotations

import re

import pytest

from tests.rig.server import Server

PAGES = {"login": "window.matrixLogin.onLogin(", "register": "window.matrixRegistration.onRegistered("}


@pytest.mark.parametrize("page", PAGES)
async def test_fallback_page_tells_the_client_what_came_of_it(server: Server, page: str) -> None:
    response = await server.client().get(f"/_matrix/static/client/{page}/", device_id="GHTYAJCE")
    assert response.status == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert PAGES[page] in response.body.decode()
    assert "$" not in response.body.decode()


@pytest.mark.parametrize("page", PAGES)
async def test_fallback_page_needs_nothing_from_anywhere_else(server: Server, page: str) -> None:
    response = await server.client().get(f"/_matrix/static/client/{page}/")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert re.findall(r"https?:|src=|href=", response.body.decode()) == []


@pytest.mark.parametrize("page", PAGES)
async def test_fallback_page_is_all_there_is(server: Server, page: str) -> None:
    assert (await server.client().get(f"/_matrix/static/client/{page}/more")).outcome == (404, "M_UNRECOGNIZED")
