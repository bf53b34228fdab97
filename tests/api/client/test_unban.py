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
    attempts = [(carol, dave.user_id), (eve, dave.user_id), (dave, dave.user_id), (bob, carol.user_id), (bob, "@x:y")]
    with rooms.leaves_no_trace():
        for user, target in attempts:
            assert (await ask_member(user, room_id, "unban", target)).outcome == (403, "M_FORBIDDEN")
    await set_levels(alice, room_id, ban=60)
    with rooms.leaves_no_trace():
        assert (await ask_member(bob, room_id, "unban", dave.user_id)).outcome == (403, "M_FORBIDDEN")
