"""``POST /_matrix/client/v3/rooms/{roomId}/leave`` and ``.../forget``"""

from __future__ import annotations

import pytest

from tests.rig.asking import VERSIONS, ask_member, get_content, membership_of, timeline_of
from tests.rig.client import Client, Response
from tests.rig.rooms import RoomServer, ban, create, forget, in_room, invite, join, kick, leave, set_state
from tests.rig.whole import WholeServer


async def ask(user: Client, room_id: str, **body: object) -> Response:
    return await user.post(in_room(room_id, "leave"), body)


async def ask_forget(user: Client, room_id: str) -> Response:
    return await user.post(in_room(room_id, "forget"), {})


@pytest.mark.parametrize("version", VERSIONS)
async def test_leave_room_leaves_with_a_reason(rooms: RoomServer, version: str) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, room_version=version)
    await join(bob, room_id)
    assert (await ask(bob, room_id, reason="sofas")).json == {}
    assert await get_content(alice, room_id, "m.room.member", bob.user_id) == {"membership": "leave", "reason": "sofas"}
    assert (await bob.get("/joined_rooms")).json == {"joined_rooms": []}


async def test_leave_room_rejects_an_invite(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, preset="private_chat")
    await invite(alice, room_id, bob)
    assert (await bob.post(in_room(room_id, "leave"))).json == {}
    assert await membership_of(alice, room_id, bob.user_id) == "leave"
    assert (await bob.post(in_room(room_id, "join"))).outcome == (403, "M_FORBIDDEN")


async def test_leave_room_tells_who_rejected_an_invite_that_it_was_one(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = (await alice.post("/createRoom", {"invite": [bob.user_id]})).json["room_id"]
    since = (await bob.get("/sync")).json["next_batch"]
    assert (await ask(bob, room_id)).status == 200
    left = (await bob.get("/sync", since=since)).json["rooms"]["leave"][room_id]
    assert left["timeline"]["events"][-1]["unsigned"]["prev_content"]["membership"] == "invite"


async def test_leave_room_takes_back_a_knock(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, initial_state=[{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}])
    knock = in_room(room_id, "state", "m.room.member", bob.user_id)
    assert (await bob.put(knock, {"membership": "knock"})).status == 200
    assert (await ask(bob, room_id)).status == 200
    assert await membership_of(alice, room_id, bob.user_id) == "leave"


async def test_leave_room_twice_does_nothing(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await join(bob, room_id)
    await leave(bob, room_id)
    await join(carol, room_id)
    await kick(alice, room_id, carol)
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id)).json == {}
        assert (await ask(carol, room_id)).json == {}


async def test_leave_room_forbidden_for_who_was_never_in_it(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await ban(alice, room_id, carol)
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id)).outcome == (403, "M_FORBIDDEN")
        assert (await ask(carol, room_id)).outcome == (403, "M_FORBIDDEN")
        assert (await ask(bob, "!nowhere:one.test")).outcome == (403, "M_FORBIDDEN")


async def test_leave_room_is_open_to_suspended_users_and_guests(rooms: RoomServer) -> None:
    alice, bob, gast = [await rooms.register(name) for name in ("alice", "bob", "gast")]
    room_id = await create(alice)
    await invite(alice, room_id, bob)
    await join(gast, room_id)
    await rooms.change_account(bob, is_suspended=True)
    await rooms.change_account(gast, is_guest=True)
    assert (await ask(bob, room_id)).status == 200
    assert (await ask(gast, room_id)).status == 200


async def test_leave_room_refuses_what_it_cannot_read(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    async with rooms.leaves_no_trace():
        assert (await ask(alice, room_id, reason=1)).outcome == (400, "M_BAD_JSON")
        assert (await ask(alice, "lounge")).outcome == (400, "M_INVALID_PARAM")


# Forgetting.


async def test_forget_room_closes_the_history(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await leave(bob, room_id)
    assert (await bob.get(in_room(room_id, "messages"), dir="b")).status == 200
    assert (await ask_forget(bob, room_id)).json == {}
    assert (await bob.get(in_room(room_id, "messages"), dir="b")).outcome == (403, "M_FORBIDDEN")
    async with rooms.leaves_no_trace():
        assert (await ask_forget(bob, room_id)).json == {}


async def test_forget_room_is_undone_by_coming_back(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    for back in ("join", "invite"):
        await join(bob, room_id)
        await leave(bob, room_id)
        await forget(bob, room_id)
        if back == "invite":
            await invite(alice, room_id, bob)
        await join(bob, room_id)
        assert len(await timeline_of(bob, room_id)) > 5
        await leave(bob, room_id)


async def test_forget_room_lasts_when_others_act_on_who_is_gone(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await leave(bob, room_id)
    await forget(bob, room_id)
    for operation in ("ban", "unban", "ban"):
        assert (await ask_member(alice, room_id, operation, bob.user_id)).status == 200
        assert (await bob.get(in_room(room_id, "messages"), dir="b")).outcome == (403, "M_FORBIDDEN")


async def test_forget_room_takes_rejected_invites_and_bans(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await invite(alice, room_id, bob)
    await leave(bob, room_id)
    assert (await ask_forget(bob, room_id)).status == 200
    await join(bob, room_id)
    await ban(alice, room_id, bob)
    assert (await ask_forget(bob, room_id)).status == 200


async def test_forget_room_unknown_while_the_user_is_in_it(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await invite(alice, room_id, bob)
    async with rooms.leaves_no_trace():
        assert (await ask_forget(alice, room_id)).outcome == (400, "M_UNKNOWN")
        assert (await ask_forget(bob, room_id)).outcome == (400, "M_UNKNOWN")


async def test_forget_room_not_found_for_who_was_never_in_it(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await set_state(alice, room_id, "m.room.name", {"name": "Lounge"})
    async with rooms.leaves_no_trace():
        assert (await ask_forget(bob, room_id)).outcome == (404, "M_NOT_FOUND")
        assert (await ask_forget(bob, "!nowhere:one.test")).outcome == (404, "M_NOT_FOUND")
