"""``POST /_matrix/client/v3/account/password``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.client import Client
from tests.rig.server import PASSWORD, Server

NEW = "a new one"


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice")


def asked(password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}, "password": password}
    return {"new_password": NEW, "auth": auth, **more}


async def log_in_status(server: Server, password: str) -> int:
    body = {"type": "m.login.password", "user": "alice", "password": password}
    return (await server.client().post("/login", body)).status


async def test_change_password_replaces_it(server: Server, alice: Client) -> None:
    assert (await alice.post("/account/password", asked())).json == {}
    assert await log_in_status(server, PASSWORD) == 403
    assert await log_in_status(server, NEW) == 200


async def test_change_password_closes_the_other_sessions(server: Server, alice: Client) -> None:
    phone = await server.log_in(alice)
    await alice.post("/account/password", asked())
    assert (await phone.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    assert (await alice.get("/account/whoami")).status == 200


async def test_change_password_can_keep_the_other_sessions(server: Server, alice: Client) -> None:
    phone = await server.log_in(alice)
    await alice.post("/account/password", asked(logout_devices=False))
    assert (await phone.get("/account/whoami")).status == 200


async def test_change_password_asks_for_the_old_one(server: Server, alice: Client) -> None:
    response = await alice.post("/account/password", {"new_password": NEW})
    assert response.status == 401
    assert response.json["flows"] == [{"stages": ["m.login.password"]}]
    assert await log_in_status(server, PASSWORD) == 200


async def test_change_password_forbidden_by_a_wrong_one(server: Server, alice: Client) -> None:
    session = (await alice.post("/account/password", {"new_password": NEW})).json["session"]
    body = asked("wrong")
    body["auth"]["session"] = session
    async with server.leaves_no_trace():
        assert (await alice.post("/account/password", body)).outcome == (401, "M_FORBIDDEN")


async def test_change_password_forbidden_with_a_session_that_deletes_devices(server: Server, alice: Client) -> None:
    session = (await alice.delete("/devices/X")).json["session"]
    body = asked()
    body["auth"]["session"] = session
    async with server.leaves_no_trace():
        assert (await alice.post("/account/password", body)).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"new_password": ""}, (400, "M_WEAK_PASSWORD")),
        ({"new_password": None}, (400, "M_MISSING_PARAM")),
        ({"new_password": ["x"]}, (400, "M_BAD_JSON")),
        ({"logout_devices": 1}, (400, "M_BAD_JSON")),
    ],
)
async def test_change_password_refused(
    server: Server, alice: Client, changes: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        assert (await alice.post("/account/password", asked(**changes))).outcome == outcome


async def test_change_password_missing_token(server: Server) -> None:
    assert (await server.client().post("/account/password", asked())).outcome == (401, "M_MISSING_TOKEN")
