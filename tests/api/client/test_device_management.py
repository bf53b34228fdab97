"""``/_matrix/client/v3/devices``"""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.rig.client import Client
from tests.rig.server import PASSWORD, Server


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice", device_id="LAPTOP")


def password_auth(user: str = "alice", password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    identifier = {"type": "m.id.user", "user": user}
    return {"type": "m.login.password", "identifier": identifier, "password": password, **more}


async def device_ids(user: Client) -> set[str]:
    return {device["device_id"] for device in (await user.get("/devices")).json["devices"]}


async def test_get_devices_lists_ones_own(server: Server, alice: Client) -> None:
    await server.register("bob")
    await server.log_in(alice, device_id="PHONE", initial_device_display_name="Phone")
    response = await alice.get("/devices")
    assert [(it["device_id"], it.get("display_name")) for it in response.json["devices"]] == [
        ("LAPTOP", None),
        ("PHONE", "Phone"),
    ]


async def test_get_devices_missing_token(server: Server) -> None:
    assert (await server.client().get("/devices")).outcome == (401, "M_MISSING_TOKEN")


@pytest.mark.parametrize("device_id", ["OTHER", "x" * 300, "%01"])
async def test_get_device_not_found(alice: Client, device_id: str) -> None:
    assert (await alice.get(f"/devices/{device_id}")).outcome == (404, "M_NOT_FOUND")


async def test_get_device_not_found_when_it_is_somebody_elses(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    assert (await bob.get("/devices/LAPTOP")).outcome == (404, "M_NOT_FOUND")


async def test_get_device_tells_when_it_was_last_seen(
    server: Server, alice: Client, autojump_clock: trio.testing.MockClock
) -> None:
    first = (await alice.get("/devices/LAPTOP")).json["last_seen_ts"]
    await trio.sleep(2 * 3600)
    await alice.get("/account/whoami")
    await server.services.accounts.last_seen.flush()
    assert (await alice.get("/devices/LAPTOP")).json["last_seen_ts"] == first + 2 * 3600 * 1000


async def test_requests_within_the_hour_write_nothing(
    server: Server, alice: Client, autojump_clock: trio.testing.MockClock
) -> None:
    await alice.get("/account/whoami")
    await server.services.accounts.last_seen.flush()
    await trio.sleep(3000)
    async with server.leaves_no_trace():
        await alice.get("/account/whoami")
        await server.services.accounts.last_seen.flush()


async def test_update_device_renames(alice: Client) -> None:
    assert (await alice.put("/devices/LAPTOP", {"display_name": "New"})).json == {}
    assert (await alice.get("/devices/LAPTOP")).json["display_name"] == "New"
    assert (await alice.put("/devices/LAPTOP", {})).json == {}
    assert (await alice.get("/devices/LAPTOP")).json["display_name"] == "New"


@pytest.mark.parametrize(
    ("device_id", "body", "outcome"),
    [
        ("OTHER", {"display_name": "x"}, (404, "M_NOT_FOUND")),
        ("LAPTOP", {"display_name": 1}, (400, "M_BAD_JSON")),
        ("LAPTOP", {"display_name": "x" * 256}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_update_device_refused(
    server: Server, alice: Client, device_id: str, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        assert (await alice.put(f"/devices/{device_id}", body)).outcome == outcome


async def test_delete_device_asks_for_the_password(server: Server, alice: Client) -> None:
    phone = await server.log_in(alice, device_id="PHONE")
    response = await alice.delete("/devices/PHONE")
    assert response.status == 401
    assert response.json["flows"] == [{"stages": ["m.login.password"]}]
    assert await device_ids(alice) == {"LAPTOP", "PHONE"}
    auth = password_auth(session=response.json["session"])
    assert (await alice.delete("/devices/PHONE", {"auth": auth})).json == {}
    assert await device_ids(alice) == {"LAPTOP"}
    assert (await phone.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    assert server.dump()["userdevicesessionid_uiaainfo"] == []


async def test_delete_device_that_is_gone_is_no_error(alice: Client) -> None:
    assert (await alice.delete("/devices/GONE", {"auth": password_auth()})).json == {}


@pytest.mark.parametrize(
    "auth",
    [
        password_auth(password="wrong"),
        password_auth(user="bob"),
        password_auth(user="@alice:two.test"),
        {"type": "m.login.password"},
    ],
)
async def test_delete_device_forbidden_by_a_wrong_password(server: Server, alice: Client, auth: dict[str, Any]) -> None:
    await server.register("bob")
    session = (await alice.delete("/devices/LAPTOP")).json["session"]
    async with server.leaves_no_trace():
        response = await alice.delete("/devices/LAPTOP", {"auth": auth | {"session": session}})
    assert response.outcome == (401, "M_FORBIDDEN")
    assert response.json["session"] == session


async def test_delete_device_forbidden_with_the_session_of_another_device(server: Server, alice: Client) -> None:
    session = (await alice.delete("/devices/GONE")).json["session"]
    async with server.leaves_no_trace():
        response = await alice.delete("/devices/LAPTOP", {"auth": password_auth(session=session)})
    assert response.outcome == (403, "M_FORBIDDEN")


async def test_delete_device_forbidden_with_the_session_of_another_user(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    session = (await bob.delete("/devices/LAPTOP")).json["session"]
    async with server.leaves_no_trace():
        response = await alice.delete("/devices/LAPTOP", {"auth": password_auth(session=session)})
    assert response.outcome == (403, "M_FORBIDDEN")


async def test_delete_devices_removes_several(server: Server, alice: Client) -> None:
    for device_id in ("A", "B", "C"):
        await server.log_in(alice, device_id=device_id)
    body = {"devices": ["A", "B", "GONE"], "auth": password_auth()}
    assert (await alice.post("/delete_devices", body)).json == {}
    assert await device_ids(alice) == {"LAPTOP", "C"}


async def test_delete_devices_asks_for_the_password(server: Server, alice: Client) -> None:
    assert (await alice.post("/delete_devices", {"devices": ["LAPTOP"]})).status == 401
    assert await device_ids(alice) == {"LAPTOP"}


async def test_delete_devices_keeps_little_of_a_long_list_until_the_password_is_given(
    server: Server, alice: Client
) -> None:
    await server.log_in(alice, device_id="A")
    devices = [f"{number:0200}" for number in range(1000)] + ["A"]
    session = (await alice.post("/delete_devices", {"devices": devices})).json["session"]
    [kept] = server.dump()["userdevicesessionid_uiaainfo"]
    assert len(repr(kept)) < 2000
    auth = {**password_auth(), "session": session}
    other = await alice.post("/delete_devices", {"devices": devices[1:], "auth": auth})
    assert other.outcome == (403, "M_FORBIDDEN")
    assert (await alice.post("/delete_devices", {"devices": devices, "auth": auth})).json == {}
    assert await device_ids(alice) == {"LAPTOP"}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"devices": "LAPTOP"}, (400, "M_BAD_JSON")),
        ({"devices": [1]}, (400, "M_BAD_JSON")),
    ],
)
async def test_delete_devices_refuses_what_it_cannot_read(
    server: Server, alice: Client, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        assert (await alice.post("/delete_devices", body)).outcome == outcome
