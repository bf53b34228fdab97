"""``GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}``"""

from __future__ import annotations

from tests.rig.client import path
from tests.rig.rooms import RoomServer, create, in_room, join, leave, set_state


async def test_get_room_state_with_key_is_the_content(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, name="Lounge")
    await set_state(alice, room_id, "org.example.seat", {"row": 4}, "a/b ä")
    assert (await alice.get(in_room(room_id, "state", "m.room.name"))).json == {"name": "Lounge"}
    assert (await alice.get(in_room(room_id, "state", "m.room.name") + "/")).json == {"name": "Lounge"}
    assert (await alice.get(in_room(room_id, "state", "org.example.seat", "a/b ä"))).json == {"row": 4}


async def test_get_room_state_with_key_is_the_event_when_asked_for(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await set_state(alice, room_id, "m.room.name", {"name": "Lounge"})
    event = (await alice.get(in_room(room_id, "state", "m.room.name"), format="event")).json
    assert (event["event_id"], event["room_id"], event["state_key"]) == (event_id, room_id, "")
    assert (await alice.get(in_room(room_id, "state", "m.room.name"), format="content")).json == {"name": "Lounge"}


async def test_get_room_state_with_key_is_that_of_the_leave_for_who_left(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, name="with bob")
    await join(bob, room_id)
    await leave(bob, room_id)
    await set_state(alice, room_id, "m.room.name", {"name": "without bob"})
    await set_state(alice, room_id, "m.room.topic", {"topic": "bob"})
    assert (await bob.get(in_room(room_id, "state", "m.room.name"))).json == {"name": "with bob"}
    assert (await bob.get(in_room(room_id, "state", "m.room.topic"))).outcome == (404, "M_NOT_FOUND")


async def test_get_room_state_with_key_forbidden(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, name="Lounge")
    assert (await bob.get(in_room(room_id, "state", "m.room.name"))).outcome == (403, "M_FORBIDDEN")


async def test_get_room_state_with_key_not_found(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    for parts in (("m.room.topic",), ("m.room.member", "@nobody:one.test"), ("never.seen", "")):
        assert (await alice.get(in_room(room_id, "state", *parts))).outcome == (404, "M_NOT_FOUND")


async def test_get_room_state_with_key_invalid_param(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    response = await alice.get(in_room(room_id, "state", "m.room.create"), format="yaml")
    assert response.outcome == (400, "M_INVALID_PARAM")
    assert (await alice.get(path("rooms", "nonsense", "state", "m.room.name"))).outcome == (400, "M_INVALID_PARAM")
