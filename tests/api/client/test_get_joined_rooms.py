"""``GET /_matrix/client/v3/joined_rooms``"""

from __future__ import annotations

from tests.rig.rooms import RoomServer, create, invite, join, leave


async def test_get_joined_rooms_lists_rooms_one_is_in(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    kept, left, invited = [await create(alice) for _ in range(3)]
    assert (await bob.get("/joined_rooms")).json == {"joined_rooms": []}
    await join(bob, kept)
    await join(bob, left)
    await leave(bob, left)
    await invite(alice, invited, bob)
    assert (await bob.get("/joined_rooms")).json == {"joined_rooms": [kept]}
    assert sorted((await alice.get("/joined_rooms")).json["joined_rooms"]) == sorted([kept, left, invited])


async def test_get_joined_rooms_missing_token(rooms: RoomServer) -> None:
    assert (await rooms.client().get("/joined_rooms")).outcome == (401, "M_MISSING_TOKEN")
