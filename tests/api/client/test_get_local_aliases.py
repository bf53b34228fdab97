"""``GET /_matrix/client/v3/rooms/{roomId}/aliases``"""

from __future__ import annotations

from tests.rig.client import path
from tests.rig.rooms import RoomServer, create, in_room, join, leave


async def test_get_local_aliases_for_members(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, room_alias_name="lounge")
    await join(bob, room_id)
    assert (await bob.put(path("directory", "room", "#bar:one.test"), {"room_id": room_id})).status == 200
    answer = (await bob.get(in_room(room_id, "aliases"))).json
    assert answer == {"aliases": ["#bar:one.test", "#lounge:one.test"]}


async def test_get_local_aliases_for_anybody_in_a_world_readable_room(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility="world_readable", room_alias_name="lounge")
    assert (await bob.get(in_room(room_id, "aliases"))).json == {"aliases": ["#lounge:one.test"]}


async def test_get_local_aliases_forbidden(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, room_alias_name="lounge")
    assert (await bob.get(in_room(room_id, "aliases"))).outcome == (403, "M_FORBIDDEN")
    await join(bob, room_id)
    await leave(bob, room_id)
    assert (await bob.get(in_room(room_id, "aliases"))).outcome == (403, "M_FORBIDDEN")
    assert (await bob.get(in_room("!nowhere:one.test", "aliases"))).outcome == (403, "M_FORBIDDEN")


async def test_get_local_aliases_invalid_param(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    assert (await alice.get(in_room("lounge", "aliases"))).outcome == (400, "M_INVALID_PARAM")
