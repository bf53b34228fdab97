"""``GET /_matrix/client/v3/rooms/{roomId}/state``"""

from __future__ import annotations

from tests.rig.client import Client
from tests.rig.rooms import RoomServer, ban, create, forget, in_room, invite, join, leave, set_state


async def names(user: Client, room_id: str) -> list[str]:
    response = await user.get(in_room(room_id, "state"))
    assert response.status == 200, response.body
    return [event["content"]["name"] for event in response.json if event["type"] == "m.room.name"]


async def test_get_room_state_is_the_current_one_for_members(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, name="old", topic="about")
    await set_state(alice, room_id, "m.room.name", {"name": "new"})
    state = (await alice.get(in_room(room_id, "state"))).json
    entries = [(event["type"], event["state_key"]) for event in state]
    assert len(set(entries)) == len(entries)
    assert {("m.room.create", ""), ("m.room.member", alice.user_id), ("m.room.topic", "")} <= set(entries)
    assert await names(alice, room_id) == ["new"]


async def test_get_room_state_is_that_of_the_leave_for_who_left(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, name="with bob")
    await join(bob, room_id)
    await leave(bob, room_id)
    await set_state(alice, room_id, "m.room.name", {"name": "without bob"})
    assert await names(bob, room_id) == ["with bob"]
    await ban(alice, room_id, bob)
    assert await names(bob, room_id) == ["with bob"]


async def test_get_room_state_is_the_current_one_of_a_world_readable_room(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, name="for all", visibility="world_readable")
    assert await names(bob, room_id) == ["for all"]


async def test_get_room_state_forbidden(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    path = in_room(room_id, "state")
    assert (await bob.get(path)).outcome == (403, "M_FORBIDDEN")
    await invite(alice, room_id, bob)
    assert (await bob.get(path)).outcome == (403, "M_FORBIDDEN")
    await join(bob, room_id)
    await leave(bob, room_id)
    await forget(bob, room_id)
    assert (await bob.get(path)).outcome == (403, "M_FORBIDDEN")
    assert (await bob.get(in_room("!nowhere:one.test", "state"))).outcome == (403, "M_FORBIDDEN")
