"""``/_matrix/client/v3/admin/whois``, ``/_matrix/client/v1/admin/suspend`` and ``.../lock``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.client import Client
from tests.rig.rooms import RoomServer, create, in_room, join, leave
from tests.rig.server import Server

V1 = "/_matrix/client/v1/admin"


@pytest.fixture
async def admin(server: Server) -> Client:
    """The first account is the administrator's."""
    return await server.register("admin")


@pytest.fixture
async def bob(server: Server, admin: Client) -> Client:
    return await server.register("bob")


async def test_get_who_is_tells_where_devices_were_seen(server: Server, admin: Client, bob: Client) -> None:
    phone = await server.log_in(bob, device_id="PHONE")
    response = await admin.get(f"/admin/whois/{bob.user_id}")
    assert response.json["user_id"] == bob.user_id
    assert set(response.json["devices"]) == {bob.device_id, phone.device_id}
    connection = response.json["devices"]["PHONE"]["sessions"][0]["connections"][0]
    assert connection["ip"] == "127.0.0.1"
    assert connection["last_seen"] >= 1_700_000_000_000


async def test_get_who_is_is_open_to_the_user(bob: Client) -> None:
    assert set((await bob.get(f"/admin/whois/{bob.user_id}")).json["devices"]) == {bob.device_id}


async def test_get_who_is_forbidden_to_others(bob: Client, admin: Client) -> None:
    assert (await bob.get(f"/admin/whois/{admin.user_id}")).outcome == (403, "M_FORBIDDEN")
    assert (await bob.get("/admin/whois/@nobody:one.test")).outcome == (403, "M_FORBIDDEN")


async def test_get_who_is_not_found(admin: Client) -> None:
    assert (await admin.get("/admin/whois/@nobody:one.test")).outcome == (404, "M_NOT_FOUND")


async def test_get_who_is_missing_token(server: Server) -> None:
    assert (await server.client().get("/admin/whois/@bob:one.test")).outcome == (401, "M_MISSING_TOKEN")


@pytest.mark.parametrize(("what", "name"), [("suspend", "suspended"), ("lock", "locked")])
async def test_set_admin_restriction_holds_until_it_is_lifted(admin: Client, bob: Client, what: str, name: str) -> None:
    place = f"{V1}/{what}/{bob.user_id}"
    assert (await admin.get(place)).json == {name: False}
    assert (await admin.put(place, {name: True})).json == {name: True}
    assert (await admin.get(place)).json == {name: True}
    other = "lock" if what == "suspend" else "suspend"
    assert set((await admin.get(f"{V1}/{other}/{bob.user_id}")).json.values()) == {False}
    assert (await admin.put(place, {name: False})).json == {name: False}
    assert (await admin.get(place)).json == {name: False}


async def test_set_admin_lock_user_closes_everything_but_logging_out(
    server: Server, admin: Client, bob: Client
) -> None:
    phone = await server.log_in(bob)
    await admin.put(f"{V1}/lock/{bob.user_id}", {"locked": True})
    refused = await bob.get("/account/whoami")
    assert refused.outcome == (401, "M_USER_LOCKED")
    assert refused.json["soft_logout"] is True
    assert (await phone.post("/logout")).status == 200
    await admin.put(f"{V1}/lock/{bob.user_id}", {"locked": False})
    assert (await bob.get("/account/whoami")).status == 200
    assert (await phone.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")


async def test_set_admin_suspend_user_lets_the_user_read_and_leave_only(rooms: RoomServer) -> None:
    admin, bob = await rooms.register("admin"), await rooms.register("bob")
    room_id, other_id = await create(admin), await create(admin)
    await join(bob, room_id)
    await admin.put(f"{V1}/suspend/{bob.user_id}", {"suspended": True})
    message = in_room(room_id, "send", "m.room.message", "txn")
    refused = await bob.put(message, {"msgtype": "m.text", "body": "hi"})
    assert refused.outcome == (403, "M_USER_SUSPENDED")
    assert (await bob.post(in_room(other_id, "join"), {})).outcome == (403, "M_USER_SUSPENDED")
    name = await bob.put(f"/profile/{bob.user_id}/displayname", {"displayname": "Rob"})
    assert name.outcome == (403, "M_USER_SUSPENDED")
    assert (await bob.get(in_room(room_id, "messages"), dir="b")).status == 200
    phone = await rooms.log_in(bob)
    assert (await phone.put(message + "2", {"msgtype": "m.text", "body": "hi"})).outcome == (403, "M_USER_SUSPENDED")
    await leave(bob, room_id)


PLACES = [("suspend", "suspended"), ("lock", "locked")]


@pytest.mark.parametrize(("what", "name"), PLACES)
@pytest.mark.parametrize(
    ("user_id", "outcome"),
    [
        ("@bob:two.test", (400, "M_INVALID_PARAM")),
        ("@nobody:one.test", (404, "M_NOT_FOUND")),
        ("bob", (400, "M_INVALID_PARAM")),
    ],
)
async def test_admin_restriction_refused_for_users_that_are_not_here(
    server: Server, admin: Client, what: str, name: str, user_id: str, outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        assert (await admin.get(f"{V1}/{what}/{user_id}")).outcome == outcome
        assert (await admin.put(f"{V1}/{what}/{user_id}", {name: True})).outcome == outcome


@pytest.mark.parametrize(("what", "name"), PLACES)
async def test_admin_restriction_not_found_when_deactivated(
    server: Server, admin: Client, bob: Client, what: str, name: str
) -> None:
    await server.change_account(bob, is_deactivated=True)
    async with server.leaves_no_trace():
        assert (await admin.get(f"{V1}/{what}/{bob.user_id}")).outcome == (404, "M_NOT_FOUND")
        assert (await admin.put(f"{V1}/{what}/{bob.user_id}", {name: True})).outcome == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(("what", "name"), PLACES)
async def test_admin_restriction_forbidden_against_administrators(
    server: Server, admin: Client, bob: Client, what: str, name: str
) -> None:
    await server.change_account(bob, is_admin=True)
    async with server.leaves_no_trace():
        assert (await admin.get(f"{V1}/{what}/{bob.user_id}")).outcome == (403, "M_FORBIDDEN")
        assert (await admin.put(f"{V1}/{what}/{bob.user_id}", {name: True})).outcome == (403, "M_FORBIDDEN")
        assert (await admin.put(f"{V1}/{what}/{admin.user_id}", {name: True})).outcome == (403, "M_FORBIDDEN")
        assert (await admin.get(f"{V1}/{what}/{admin.user_id}")).json == {name: False}


@pytest.mark.parametrize(("what", "name"), PLACES)
async def test_admin_restriction_forbidden_to_others_whoever_is_meant(
    server: Server, bob: Client, what: str, name: str
) -> None:
    async with server.leaves_no_trace():
        for user_id in ("@bob:one.test", "@nobody:one.test", "@bob:two.test", "bob"):
            assert (await bob.get(f"{V1}/{what}/{user_id}")).outcome == (403, "M_FORBIDDEN")
            assert (await bob.put(f"{V1}/{what}/{user_id}", {name: True})).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(("what", "name"), PLACES)
@pytest.mark.parametrize(("value", "errcode"), [(None, "M_MISSING_PARAM"), ("yes", "M_BAD_JSON")])
async def test_admin_restriction_refuses_what_it_cannot_read(
    server: Server, admin: Client, bob: Client, what: str, name: str, value: Any, errcode: str
) -> None:
    async with server.leaves_no_trace():
        assert (await admin.put(f"{V1}/{what}/{bob.user_id}", {name: value})).outcome == (400, errcode)


@pytest.mark.parametrize(("what", "name"), PLACES)
async def test_admin_restriction_missing_token(server: Server, what: str, name: str) -> None:
    assert (await server.client().get(f"{V1}/{what}/@b:one.test")).outcome == (401, "M_MISSING_TOKEN")
    assert (await server.client().put(f"{V1}/{what}/@b:one.test", {name: True})).outcome == (401, "M_MISSING_TOKEN")


async def test_get_capabilities_tells_administrators_what_they_may(admin: Client, bob: Client) -> None:
    capabilities = (await admin.get("/capabilities")).json["capabilities"]
    assert capabilities["m.account_moderation"] == {"suspend": True, "lock": True}
    assert "m.account_moderation" not in (await bob.get("/capabilities")).json["capabilities"]
