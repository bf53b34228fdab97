"""``POST /_matrix/client/v3/rooms/{roomId}/kick``"""

from __future__ import annotations

import pytest

from tests.rig.asking import VERSIONS, ask_member, crowd, get_content, membership_of
from tests.rig.rooms import RoomServer, ban, create, in_room, invite, join


@pytest.mark.parametrize("version", VERSIONS)
async def test_kick_makes_a_member_leave(rooms: RoomServer, version: str) -> None:
    room_id, alice, bob, carol = await crowd(rooms, version)
    assert (await ask_member(bob, room_id, "kick", carol.user_id, reason="jokes")).json == {}
    assert await get_content(alice, room_id, "m.room.member", carol.user_id) == {
        "membership": "leave",
        "reason": "jokes",
    }
    assert (
        await carol.put(in_room(room_id, "send", "m.room.message", "1"), {"msgtype": "m.text", "body": "hi"})
    ).outcome == (403, "M_FORBIDDEN")
    await join(carol, room_id)


async def test_kick_revokes_an_invite(rooms: RoomServer) -> None:
    room_id, alice, bob, _ = await crowd(rooms)
    dave = await rooms.register("dave")
    await invite(alice, room_id, dave)
    assert (await ask_member(bob, room_id, "kick", dave.user_id)).status == 200
    assert await membership_of(alice, room_id, dave.user_id) == "leave"


@pytest.mark.parametrize("version", ["11", "12"])
async def test_kick_forbidden(rooms: RoomServer, version: str) -> None:
    room_id, alice, bob, carol = await crowd(rooms, version)
    dave, eve = await rooms.register("dave"), await rooms.register("eve")
    await ban(alice, room_id, eve)
    attempts = [
        (carol, bob.user_id),  # no power
        (bob, alice.user_id),  # less power
        (dave, carol.user_id),  # not in the room
        (bob, dave.user_id),  # nobody to kick
        (bob, eve.user_id),  # would unban
        (bob, "@nobody:two.test"),
    ]
    async with rooms.leaves_no_trace():
        for user, target in attempts:
            assert (await ask_member(user, room_id, "kick", target)).outcome == (403, "M_FORBIDDEN")
        assert (await ask_member(alice, "!nowhere:one.test", "kick", bob.user_id)).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("operation", ["kick", "ban", "unban"])
async def test_kick_refuses_what_names_nobody(rooms: RoomServer, operation: str) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    url = in_room(room_id, operation)
    async with rooms.leaves_no_trace():
        assert (await alice.post(url, {})).outcome == (400, "M_MISSING_PARAM")
        assert (await alice.post(url, {"user_id": ["@bob:one.test"]})).outcome == (400, "M_BAD_JSON")
        assert (await alice.post(url, {"user_id": "@bob:one.test", "reason": {}})).outcome == (400, "M_BAD_JSON")
        assert (await alice.post(url, {"user_id": "#bob:one.test"})).outcome == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize("operation", ["kick", "ban", "unban"])
async def test_kick_refuses_suspended_users_and_guests(rooms: RoomServer, operation: str) -> None:
    room_id, alice, bob, carol = await crowd(rooms)
    dave = await rooms.register("dave")
    await ban(alice, room_id, dave)
    target = dave.user_id if operation == "unban" else carol.user_id
    await rooms.change_account(alice, is_suspended=True)
    await rooms.change_account(bob, is_guest=True)
    async with rooms.leaves_no_trace():
        assert (await ask_member(alice, room_id, operation, target)).outcome == (403, "M_USER_SUSPENDED")
        assert (await ask_member(bob, room_id, operation, target)).outcome == (403, "M_GUEST_ACCESS_FORBIDDEN")
