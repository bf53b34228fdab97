"""``PUT /_matrix/client/v3/directory/list/room/{roomId}``"""

from __future__ import annotations

from tests.rig.client import Client, path
from tests.rig.rooms import RoomServer, create, join, leave


def list_path(room_id: str) -> str:
    return path("directory", "list", "room", room_id)


async def visibility(user: Client, room_id: str) -> str:
    text: str = (await user.get(list_path(room_id))).json["visibility"]
    return text


async def test_set_room_visibility_on_directory_publishes_and_takes_back(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    for body, outcome in (({"visibility": "public"}, "public"), ({"visibility": "private"}, "private"), ({}, "public")):
        assert (await alice.put(list_path(room_id), body)).json == {}
        assert await visibility(alice, room_id) == outcome


async def test_set_room_visibility_on_directory_that_is_so_changes_nothing(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    async with rooms.leaves_no_trace():
        assert (await alice.put(list_path(room_id), {"visibility": "private"})).status == 200


async def test_set_room_visibility_on_directory_by_an_administrator(rooms: RoomServer) -> None:
    admin, alice = await rooms.register("admin"), await rooms.register("alice")
    room_id = await create(alice)
    assert (await admin.put(list_path(room_id), {"visibility": "public"})).status == 200
    assert await visibility(alice, room_id) == "public"


async def test_set_room_visibility_on_directory_forbidden_without_power(rooms: RoomServer) -> None:
    await rooms.register("admin")
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    assert (await bob.put(list_path(room_id), {})).outcome == (403, "M_FORBIDDEN")
    await join(bob, room_id)
    async with rooms.leaves_no_trace():
        assert (await bob.put(list_path(room_id), {})).outcome == (403, "M_FORBIDDEN")
    await leave(alice, room_id)
    assert (await alice.put(list_path(room_id), {})).outcome == (403, "M_FORBIDDEN")
    assert await visibility(bob, room_id) == "private"


async def test_set_room_visibility_on_directory_not_found(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    assert (await alice.put(list_path("!nowhere:one.test"), {})).outcome == (404, "M_NOT_FOUND")


async def test_set_room_visibility_on_directory_refuses_other_words(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    assert (await alice.put(list_path(room_id), {"visibility": "secret"})).outcome == (400, "M_INVALID_PARAM")
    assert (await alice.put(list_path(room_id), {"visibility": True})).outcome == (400, "M_BAD_JSON")
