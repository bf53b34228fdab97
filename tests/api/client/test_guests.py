"""Guests: what their accounts are good for, and how they become users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from kvschema.engine import Engine
from tests.rig.client import Client, Response
from tests.rig.rooms import RoomServer, create, in_room, join, with_rooms
from tests.rig.server import PASSWORD, Server, load_test_config, open_server

FORBIDDEN = (403, "M_GUEST_ACCESS_FORBIDDEN")


@pytest.fixture
async def open_house(make_engine: Callable[[], Engine]) -> AsyncIterator[RoomServer]:
    """A server where guests are welcome."""
    async with open_server(make_engine(), load_test_config(ALLOW_GUEST_REGISTRATION="true")) as server:
        yield await with_rooms(server)


@pytest.fixture
async def alice(open_house: RoomServer) -> Client:
    return await open_house.register("alice")


@pytest.fixture
async def guest(open_house: RoomServer, alice: Client) -> Client:
    guest = open_house.client()
    guest.use_session((await guest.post("/register", {}, kind="guest")).json)
    return guest


async def upgrade(server: Server, guest: Client, **changes: Any) -> Response:
    body = {
        "username": guest.user_id[1:].partition(":")[0],
        "password": PASSWORD,
        "guest_access_token": guest.access_token,
        "auth": {"type": "m.login.dummy"},
    }
    return await server.client().post("/register", body | changes)


async def test_guest_comes_into_rooms_for_guests_and_talks(alice: Client, guest: Client) -> None:
    state = [{"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}]
    room_id = await create(alice, initial_state=state)
    await join(guest, room_id)
    sent = await guest.put(in_room(room_id, "send", "m.room.message", "t"), {"msgtype": "m.text", "body": "hi"})
    assert sent.status == 200
    assert (await guest.get(in_room(room_id, "messages"), dir="b")).status == 200


async def test_guest_may_look_after_the_own_device_and_name(guest: Client) -> None:
    assert (await guest.get("/devices")).status == 200
    assert (await guest.put(f"/devices/{guest.device_id}", {"display_name": "Kiosk"})).status == 200
    assert (await guest.get(f"/devices/{guest.device_id}")).json["display_name"] == "Kiosk"
    assert (await guest.put(f"/profile/{guest.user_id}/displayname", {"displayname": "Guest"})).status == 200
    assert (await guest.delete(f"/profile/{guest.user_id}/displayname")).status == 200
    avatar = await guest.put(f"/profile/{guest.user_id}/avatar_url", {"avatar_url": "mxc://one.test/a"})
    assert avatar.outcome == FORBIDDEN


@pytest.mark.parametrize(
    ("method", "place"),
    [
        ("POST", "/createRoom"),
        ("POST", "/account/deactivate"),
        ("POST", "/account/password"),
        ("POST", "/_matrix/client/v1/login/get_token"),
        ("POST", "/user/@g:one.test/openid/request_token"),
        ("POST", "/user_directory/search"),
        ("POST", "/users/@alice:one.test/report"),
        ("GET", "/_matrix/client/v1/mutual_rooms?user_id=@alice:one.test"),
        ("GET", "/account/3pid"),
        ("GET", "/admin/whois/@g:one.test"),
        ("GET", "/voip/turnServer"),
        ("GET", "/capabilities"),
    ],
)
async def test_guest_is_refused_what_is_not_for_guests(
    open_house: RoomServer, guest: Client, method: str, place: str
) -> None:
    async with open_house.leaves_no_trace():
        assert (await guest.request(method, place, {} if method == "POST" else None)).outcome == FORBIDDEN


async def test_guest_becomes_a_user_with_everything(open_house: RoomServer, alice: Client, guest: Client) -> None:
    await guest.put(f"/profile/{guest.user_id}/displayname", {"displayname": "Bob"})
    response = await upgrade(open_house, guest)
    assert response.json["user_id"] == guest.user_id
    bob = open_house.client()
    bob.use_session(response.json)
    assert (await bob.get("/account/whoami")).json["is_guest"] is False
    assert (await bob.get(f"/profile/{bob.user_id}")).json == {"displayname": "Bob"}
    assert {device["device_id"] for device in (await bob.get("/devices")).json["devices"]} == {
        bob.device_id,
        guest.device_id,
    }
    assert (await guest.get("/capabilities")).status == 200
    bob.password = PASSWORD
    await open_house.log_in(bob)


async def test_first_user_who_was_a_guest_is_the_administrator(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(ALLOW_GUEST_REGISTRATION="true")) as server:
        guest = server.client()
        guest.use_session((await guest.post("/register", {}, kind="guest")).json)
        assert (await upgrade(server, guest)).status == 200
        account = server.get_account(guest.user_id)
        assert account is not None
        assert account.is_admin
        assert not account.is_guest


async def test_guest_becomes_a_user_once(open_house: RoomServer, alice: Client, guest: Client) -> None:
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append((await upgrade(open_house, guest)).status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
    assert sorted(statuses) == [200, 403]


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"username": "bob"}, (403, "M_FORBIDDEN")),
        ({"username": None}, (403, "M_FORBIDDEN")),
        ({"username": "alice"}, (403, "M_FORBIDDEN")),
        ({"guest_access_token": "unheard of"}, (401, "M_UNKNOWN_TOKEN")),
        ({"guest_access_token": 7}, (400, "M_BAD_JSON")),
        ({"guest_access_token": None}, (400, "M_USER_IN_USE")),
        ({"password": ""}, (400, "M_WEAK_PASSWORD")),
    ],
)
async def test_guest_does_not_become_a_user_by_anything_else(
    open_house: RoomServer, guest: Client, changes: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with open_house.leaves_no_trace():
        assert (await upgrade(open_house, guest, **changes)).outcome == outcome


async def test_user_is_no_guest_to_become_one_again(open_house: RoomServer, alice: Client) -> None:
    async with open_house.leaves_no_trace():
        assert (await upgrade(open_house, alice)).outcome == (403, "M_FORBIDDEN")
