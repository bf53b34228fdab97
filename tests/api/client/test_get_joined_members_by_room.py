"""``GET /_matrix/client/v3/rooms/{roomId}/joined_members``"""

from __future__ import annotations

from tests.rig.rooms import RoomServer, create, in_room, invite, join, leave, set_state


async def test_get_joined_members_by_room_shows_names_and_avatars(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await join(bob, room_id)
    await invite(alice, room_id, carol)
    content = {"membership": "join", "displayname": "Bobby", "avatar_url": "mxc://one.test/bob"}
    await set_state(bob, room_id, "m.room.member", content, bob.user_id)
    joined = (await alice.get(in_room(room_id, "joined_members"))).json["joined"]
    assert set(joined) == {alice.user_id, bob.user_id}
    assert joined[bob.user_id] == {"display_name": "Bobby", "avatar_url": "mxc://one.test/bob"}


async def test_get_joined_members_by_room_leaves_out_what_is_no_name(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    content = {"membership": "join", "displayname": None}
    await set_state(alice, room_id, "m.room.member", content, alice.user_id)
    assert (await alice.get(in_room(room_id, "joined_members"))).json == {"joined": {alice.user_id: {}}}


async def test_get_joined_members_by_room_forbidden(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility="world_readable")
    path = in_room(room_id, "joined_members")
    assert (await bob.get(path)).outcome == (403, "M_FORBIDDEN")
    await join(bob, room_id)
    await leave(bob, room_id)
    assert (await bob.get(path)).outcome == (403, "M_FORBIDDEN")
