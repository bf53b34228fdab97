"""``POST /_matrix/client/v3/rooms/{roomId}/unban``"""

from __future__ import annotations

from tests.rig.asking import ask_member, crowd, get_content, set_levels
from tests.rig.rooms import RoomServer, ban, join


async def test_unban_lets_in_again(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await crowd(rooms)
    await ban(bob, room_id, carol)
    assert (await ask_member(bob, room_id, "unban", carol.user_id, reason="long enough")).json == {}
    assert await get_content(alice, room_id, "m.room.member", carol.user_id) == {
        "membership": "leave",
        "reason": "long enough",
    }
    await join(carol, room_id)


async def test_unban_forbidden(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await crowd(rooms)
    dave, eve = await rooms.register("dave"), await rooms.register("eve")
    await ban(alice, room_id, dave)
    attempts = [(carol, dave.user_id), (eve, dave.user_id), (dave, dave.user_id), (eve, carol.user_id)]
    async with rooms.leaves_no_trace():
        for user, target in attempts:
            assert (await ask_member(user, room_id, "unban", target)).outcome == (403, "M_FORBIDDEN")
    await set_levels(alice, room_id, ban=60)
    async with rooms.leaves_no_trace():
        assert (await ask_member(bob, room_id, "unban", dave.user_id)).outcome == (403, "M_FORBIDDEN")


async def test_unban_bad_state_for_who_is_not_banned(rooms: RoomServer) -> None:
    room_id, _, bob, carol = await crowd(rooms)
    async with rooms.leaves_no_trace():
        for user_id in (carol.user_id, "@x:y"):
            assert (await ask_member(bob, room_id, "unban", user_id)).outcome == (403, "M_BAD_STATE")
