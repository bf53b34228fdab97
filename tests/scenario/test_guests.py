"""Guests of one server in rooms of another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import MockClock

from kvschema.engine import Engine
from tests.rig.asking import membership_of
from tests.rig.client import Client, Response, path
from tests.rig.network import Network, open_network
from tests.rig.rooms import bodies, create, in_room, send, set_state

OPEN = {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}
FORBIDDEN = (403, "M_GUEST_ACCESS_FORBIDDEN")


@pytest.fixture
async def network(make_engine: Callable[[], Engine]) -> AsyncIterator[Network]:
    async with open_network(make_engine, "one.test", "two.test", ALLOW_GUEST_REGISTRATION="true") as network:
        yield network


async def meet(network: Network) -> tuple[Client, Client]:
    """Alice of one.test, and a guest of two.test, which has an administrator already."""
    alice = await network["one.test"].register("alice")
    await network["two.test"].register("admin")
    guest = network["two.test"].client()
    guest.use_session((await guest.post("/register", {}, kind="guest")).json)
    return alice, guest


async def ask_join(user: Client, room_id: str) -> Response:
    return await user.post(f"{path('join', room_id)}?via=one.test", {})


async def test_guest_comes_in_where_guests_may(network: Network, autojump_clock: MockClock) -> None:
    alice, guest = await meet(network)
    room_id = await create(alice, initial_state=[OPEN])
    assert (await ask_join(guest, room_id)).status == 200
    await send(guest, room_id, "hi")
    await trio.sleep(10)
    assert bodies((await alice.get(in_room(room_id, "messages"), dir="b")).json["chunk"])[0] == "hi"


async def test_guest_does_not_come_in_where_guests_may_not(network: Network, autojump_clock: MockClock) -> None:
    alice, guest = await meet(network)
    room_id = await create(alice)
    before = network["one.test"].dump()
    assert (await ask_join(guest, room_id)).outcome == FORBIDDEN
    assert (await ask_join(guest, "!nowhere:one.test")).outcome == FORBIDDEN
    assert network["one.test"].dump()["shorteventid_pdu"] == before["shorteventid_pdu"]


async def test_guest_goes_when_the_other_server_said_what_is_not_so(
    network: Network, autojump_clock: MockClock
) -> None:
    alice, guest = await meet(network)
    room_id = await create(alice, initial_state=[OPEN])
    # What a server said of a room is kept for a while.
    summary = await guest.get(f"/_matrix/client/v1/room_summary/{room_id}", via="one.test")
    assert summary.json["guest_can_join"]
    await set_state(alice, room_id, "m.room.guest_access", {"guest_access": "forbidden"})
    assert (await ask_join(guest, room_id)).outcome == FORBIDDEN
    await trio.sleep(10)
    assert await membership_of(alice, room_id, guest.user_id) == "leave"
    assert room_id not in (await guest.get("/sync")).json.get("rooms", {}).get("join", {})


async def test_guest_goes_when_the_room_is_none_for_guests_any_more(
    network: Network, autojump_clock: MockClock
) -> None:
    alice, guest = await meet(network)
    room_id = await create(alice, initial_state=[OPEN])
    assert (await ask_join(guest, room_id)).status == 200
    await set_state(alice, room_id, "m.room.topic", {"topic": "tea"})
    await trio.sleep(10)
    assert await membership_of(alice, room_id, guest.user_id) == "join"
    await set_state(alice, room_id, "m.room.guest_access", {"guest_access": "forbidden"})
    await trio.sleep(10)
    assert await membership_of(alice, room_id, guest.user_id) == "leave"
    assert room_id not in (await guest.get("/sync")).json.get("rooms", {}).get("join", {})
