"""``POST /_matrix/client/v3/rooms/{roomId}/ban``"""

from __future__ import annotations

import pytest

from tests.rig.asking import VERSIONS, ask_member, crowd, get_content, membership_of
from tests.rig.rooms import RoomServer, ban, in_room, invite, leave


@pytest.mark.parametrize("version", VERSIONS)
async def test_ban_makes_leave_and_keeps_out(rooms: RoomServer, version: str) -> None:
    room_id, alice, bob, carol = await crowd(rooms, version)
    assert (await ask_member(bob, room_id, "ban", carol.user_id, reason="jokes")).json == {}
    assert await get_content(alice, room_id, "m.room.member", carol.user_id) == {"membership": "ban", "reason": "jokes"}
    assert (await carol.get("/joined_rooms")).json == {"joined_rooms": []}
    async with rooms.leaves_no_trace():
        assert (await carol.post(in_room(room_id, "join"))).outcome == (403, "M_FORBIDDEN")
        assert (await ask_member(alice, room_id, "invite", carol.user_id)).outcome == (403, "M_FORBIDDEN")


async def test_ban_takes_who_was_never_there(rooms: RoomServer) -> None:
    room_id, alice, bob, _ = await crowd(rooms)
    dave = await rooms.register("dave")
    await invite(alice, room_id, dave)
    for user_id in (dave.user_id, "@nobody:one.test", "@mallory:two.test"):
        assert (await ask_member(bob, room_id, "ban", user_id)).status == 200
        assert await membership_of(alice, room_id, user_id) == "ban"


async def test_ban_says_the_same_once(rooms: RoomServer) -> None:
    room_id, _, bob, carol = await crowd(rooms)
    await ban(bob, room_id, carol)
    async with rooms.leaves_no_trace():
        await ban(bob, room_id, carol)
    assert (await ask_member(bob, room_id, "ban", carol.user_id, reason="jokes")).status == 200
    assert (await get_content(bob, room_id, "m.room.member", carol.user_id))["reason"] == "jokes"


@pytest.mark.parametrize("version", ["11", "12"])
async def test_ban_forbidden(rooms: RoomServer, version: str) -> None:
    room_id, alice, bob, carol = await crowd(rooms, version)
    dave = await rooms.register("dave")
    attempts = [(carol, bob.user_id), (bob, alice.user_id), (bob, bob.user_id), (dave, carol.user_id)]
    async with rooms.leaves_no_trace():
        for user, target in attempts:
            assert (await ask_member(user, room_id, "ban", target)).outcome == (403, "M_FORBIDDEN")
    await leave(bob, room_id)
    async with rooms.leaves_no_trace():
        assert (await ask_member(bob, room_id, "ban", carol.user_id)).outcome == (403, "M_FORBIDDEN")
