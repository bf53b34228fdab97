"""``/_matrix/client/v3/login``"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from argon2 import PasswordHasher

from tests.rig.client import Client
from tests.rig.server import PASSWORD, Server


def by_user(user: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": password,
        **more,
    }


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice")


async def test_get_login_flows_offers_a_password_and_a_token(server: Server) -> None:
    response = await server.client().get("/login")
    assert response.json == {
        "flows": [
            {"type": "m.login.password"},
            {"type": "m.login.token", "get_login_token": True},
            {"type": "m.login.application_service"},
        ]
    }


@pytest.mark.parametrize("user", ["alice", "@alice:one.test", "Alice", "@ALICE:one.test"])
async def test_login_opens_a_session(server: Server, alice: Client, user: str) -> None:
    client = server.client()
    response = await client.post("/login", by_user(user, initial_device_display_name="Phone"))
    assert response.status == 200
    client.use_session(response.json)
    assert (await client.get("/account/whoami")).json["user_id"] == "@alice:one.test"
    device = (await client.get(f"/devices/{client.device_id}")).json
    assert device["display_name"] == "Phone"
    assert device["last_seen_ip"] == "127.0.0.1"


async def test_login_tells_where_the_server_is(server: Server, alice: Client) -> None:
    response = await server.client().post("/login", by_user("alice"))
    assert response.json["well_known"] == {"m.homeserver": {"base_url": "https://one.test"}}


async def test_login_takes_the_old_form_of_the_user(server: Server, alice: Client) -> None:
    body = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
    assert (await server.client().post("/login", body)).status == 200


async def test_login_with_a_known_device_takes_it_over(server: Server, alice: Client) -> None:
    again = await server.log_in(alice, device_id=alice.device_id, initial_device_display_name="ignored")
    assert again.device_id == alice.device_id
    assert (await alice.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    assert "display_name" not in (await again.get(f"/devices/{again.device_id}")).json


async def test_login_with_a_new_device_id_makes_that_device(server: Server, alice: Client) -> None:
    again = await server.log_in(alice, device_id="NEW")
    assert again.device_id == "NEW"
    assert len((await again.get("/devices")).json["devices"]) == 2


async def test_login_without_ttl_gives_no_refresh_token(server: Server, alice: Client) -> None:
    response = await server.client().post("/login", by_user("alice", refresh_token=True))
    assert "refresh_token" not in response.json
    assert "expires_in_ms" not in response.json


@pytest.mark.parametrize(
    "body",
    [
        by_user("alice", "wrong"),
        by_user("nobody"),
        by_user("@alice:two.test"),
        by_user("alice" * 60),
        by_user("") | {"identifier": {"type": "m.id.thirdparty", "medium": "email", "address": "a@one.test"}},
        by_user("") | {"identifier": {"type": "m.id.user"}},
    ],
)
async def test_login_forbidden_in_the_same_words(server: Server, alice: Client, body: dict[str, Any]) -> None:
    async with server.leaves_no_trace():
        response = await server.client().post("/login", body)
    assert response.status == 403
    assert response.json == {"errcode": "M_FORBIDDEN", "error": "Wrong user name or password"}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"type": "m.login.magic"}, (400, "M_UNKNOWN")),
        ({}, (400, "M_MISSING_PARAM")),
        ({"type": "m.login.password", "user": "alice"}, (400, "M_MISSING_PARAM")),
        (by_user("alice") | {"password": 7}, (400, "M_BAD_JSON")),
        (by_user("alice", device_id=""), (400, "M_INVALID_PARAM")),
        (by_user("alice", device_id="x" * 256), (400, "M_INVALID_PARAM")),
        (by_user("alice", initial_device_display_name="x" * 256), (400, "M_INVALID_PARAM")),
    ],
)
async def test_login_refuses_what_it_cannot_read(
    server: Server, alice: Client, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        response = await server.client().post("/login", body)
    assert response.outcome == outcome


async def test_login_user_deactivated(server: Server, alice: Client) -> None:
    await server.change_account(alice, is_deactivated=True)
    async with server.leaves_no_trace():
        response = await server.client().post("/login", by_user("alice"))
    assert response.outcome == (403, "M_USER_DEACTIVATED")


async def test_login_forbidden_when_deactivated_and_the_password_is_wrong(server: Server, alice: Client) -> None:
    await server.change_account(alice, is_deactivated=True)
    assert (await server.client().post("/login", by_user("alice", "wrong"))).outcome == (403, "M_FORBIDDEN")


async def test_login_user_locked(server: Server, alice: Client) -> None:
    await server.change_account(alice, is_locked=True)
    async with server.leaves_no_trace():
        response = await server.client().post("/login", by_user("alice"))
    assert response.outcome == (401, "M_USER_LOCKED")
    assert response.json["soft_logout"] is True


async def test_login_stores_the_password_at_the_new_cost(server: Server, alice: Client) -> None:
    account = server.get_account(alice.user_id)
    assert account is not None
    cheap = PasswordHasher(time_cost=2, memory_cost=8192, parallelism=1).hash(PASSWORD)
    await server.change_account(alice, password_hash=cheap)
    await server.log_in(alice)
    after = server.get_account(alice.user_id)
    assert after is not None
    assert after.password_hash.split("$")[3] == account.password_hash.split("$")[3] != cheap.split("$")[3]
    await server.log_in(alice)


async def test_login_by_two_at_once_opens_two_sessions(server: Server, alice: Client) -> None:
    opened: list[Client] = []

    async def log_in() -> None:
        opened.append(await server.log_in(alice))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(log_in)
        nursery.start_soon(log_in)
    assert len({client.device_id for client in opened}) == 2
