"""``GET /_matrix/client/v3/account/whoami``"""

from __future__ import annotations

from tests.rig.server import Server


async def test_get_token_owner_tells_user_and_device(server: Server) -> None:
    alice = await server.register("alice")
    response = await alice.get("/account/whoami")
    assert response.status == 200
    assert response.json == {"user_id": "@alice:one.test", "device_id": alice.device_id, "is_guest": False}


async def test_get_token_owner_missing_token(server: Server) -> None:
    response = await server.client().get("/account/whoami")
    assert response.outcome == (401, "M_MISSING_TOKEN")


async def test_get_token_owner_unknown_token(server: Server) -> None:
    client = server.client()
    client.access_token = "guess"
    assert (await client.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")


async def test_get_token_owner_takes_the_token_from_the_query(server: Server) -> None:
    alice = await server.register("alice")
    response = await server.client().get("/account/whoami", access_token=alice.access_token or "")
    assert response.json["user_id"] == alice.user_id


async def test_get_token_owner_missing_token_when_the_header_is_no_bearer(server: Server) -> None:
    response = await server.client().request("GET", "/account/whoami", headers={"Authorization": "Basic YTpi"})
    assert response.outcome == (401, "M_MISSING_TOKEN")
