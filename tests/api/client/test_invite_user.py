"""``POST /_matrix/client/v3/rooms/{roomId}/invite``"""

from __future__ import annotations

import pytest

from conduit_py.data import members, short_ids
from conduit_py.matrix.ids import RoomId, UserId
from tests.rig.asking import VERSIONS, ask_member, get_content, membership_of, set_levels, timeline_of
from tests.rig.client import Client, path
from tests.rig.rooms import Json, RoomServer, ban, create, in_room, invite, join, leave


def stripped_state(rooms: RoomServer, user: Client, room_id: str) -> list[Json]:
    """What the store holds for the user's syncs to show of a room."""
    with rooms.store.snapshot() as snapshot:
        short = short_ids.get_user(snapshot, UserId(user.user_id))
        room = short_ids.get_room(snapshot, RoomId(room_id))
        assert short is not None
        assert room is not None
        standing = members.get_membership(snapshot, short, room)
    assert standing is not None
    assert standing[1].stripped_state is not None
    return standing[1].stripped_state


@pytest.mark.parametrize("version", VERSIONS)
async def test_invite_user_invites_with_profile_and_reason(rooms: RoomServer, version: str) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    for field, value in (("displayname", "Bob"), ("avatar_url", "mxc://one.test/bob")):
        assert (await bob.put(path("profile", bob.user_id, field), {field: value})).status == 200
    room_id = await create(alice, preset="private_chat", room_version=version)
    assert (await ask_member(alice, room_id, "invite", bob.user_id, reason="chairs")).json == {}
    assert await get_content(alice, room_id, "m.room.member", bob.user_id) == {
        "membership": "invite",
        "displayname": "Bob",
        "avatar_url": "mxc://one.test/bob",
        "reason": "chairs",
    }
    await join(bob, room_id)


async def test_invite_user_shows_what_the_room_is(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(
        alice,
        name="Lounge",
        topic="Chairs",
        room_alias_name="lounge",
        initial_state=[
            {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}},
            {"type": "m.room.avatar", "content": {"url": "mxc://one.test/a"}},
            {"type": "org.example.secret", "content": {"secret": True}},
        ],
    )
    await invite(alice, room_id, bob)
    shown = stripped_state(rooms, bob, room_id)
    assert all(set(event) == {"type", "state_key", "sender", "content"} for event in shown)
    assert [(event["type"], event["state_key"]) for event in shown] == [
        ("m.room.create", ""),
        ("m.room.name", ""),
        ("m.room.avatar", ""),
        ("m.room.topic", ""),
        ("m.room.join_rules", ""),
        ("m.room.canonical_alias", ""),
        ("m.room.encryption", ""),
        ("m.room.member", alice.user_id),
        ("m.room.member", bob.user_id),
    ]


async def test_invite_user_says_the_same_once(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, preset="private_chat")
    await invite(alice, room_id, bob)
    async with rooms.leaves_no_trace():
        await invite(alice, room_id, bob)
    assert (await ask_member(alice, room_id, "invite", bob.user_id, reason="please")).status == 200
    assert (await timeline_of(alice, room_id))[-1]["content"]["reason"] == "please"


async def test_invite_user_takes_who_has_left(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await leave(bob, room_id)
    await invite(alice, room_id, bob)
    assert await membership_of(alice, room_id, bob.user_id) == "invite"


async def test_invite_user_forbidden_for_who_is_not_joined(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await invite(alice, room_id, bob)
    async with rooms.leaves_no_trace():
        for user in (bob, carol):
            for target in (carol.user_id, "@nobody:one.test"):
                assert (await ask_member(user, room_id, "invite", target)).outcome == (403, "M_FORBIDDEN")
        response = await ask_member(alice, "!nowhere:one.test", "invite", bob.user_id)
        assert response.outcome == (403, "M_FORBIDDEN")


async def test_invite_user_forbidden_below_the_invite_level(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await join(bob, room_id)
    await set_levels(alice, room_id, invite=1)
    async with rooms.leaves_no_trace():
        assert (await ask_member(bob, room_id, "invite", carol.user_id)).outcome == (403, "M_FORBIDDEN")


async def test_invite_user_forbidden_for_the_joined_and_the_banned(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await join(bob, room_id)
    await ban(alice, room_id, carol)
    async with rooms.leaves_no_trace():
        for user in (alice, bob, carol):
            assert (await ask_member(alice, room_id, "invite", user.user_id)).outcome == (403, "M_FORBIDDEN")


async def test_invite_user_refuses_who_is_not_there(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    assert (await ask_member(alice, room_id, "ban", "@ghost:one.test")).status == 200
    assert (await ask_member(alice, room_id, "unban", "@ghost:one.test")).status == 200
    rooms.is_planted = True
    await rooms.change_account(bob, is_deactivated=True)
    async with rooms.leaves_no_trace():
        for user_id in ("@nobody:one.test", "@ghost:one.test", bob.user_id):
            assert (await ask_member(alice, room_id, "invite", user_id)).outcome == (404, "M_NOT_FOUND")
        assert (await ask_member(alice, room_id, "invite", "@bob:two.test")).outcome == (403, "M_FORBIDDEN")


async def test_invite_user_invite_blocked(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    config = bob.user_path("account_data", "m.invite_permission_config")
    assert (await bob.put(config, {"default_action": "block"})).status == 200
    state = in_room(room_id, "state", "m.room.member", bob.user_id)
    async with rooms.leaves_no_trace():
        assert (await ask_member(alice, room_id, "invite", bob.user_id)).outcome == (403, "M_INVITE_BLOCKED")
        assert (await alice.put(state, {"membership": "invite"})).outcome == (403, "M_INVITE_BLOCKED")
    assert (await bob.put(config, {})).status == 200
    assert (await ask_member(alice, room_id, "invite", bob.user_id)).status == 200


async def test_invite_user_user_suspended(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await rooms.change_account(alice, is_suspended=True)
    async with rooms.leaves_no_trace():
        assert (await ask_member(alice, room_id, "invite", bob.user_id)).outcome == (403, "M_USER_SUSPENDED")


async def test_invite_user_guest_access_forbidden(rooms: RoomServer) -> None:
    alice, gast = await rooms.register("alice"), await rooms.register("gast")
    room_id = await create(gast)
    await rooms.change_account(gast, is_guest=True)
    async with rooms.leaves_no_trace():
        assert (await ask_member(gast, room_id, "invite", alice.user_id)).outcome == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_invite_user_refuses_what_names_nobody(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    url = in_room(room_id, "invite")
    by_mail = {"id_server": "id.test", "id_access_token": "t", "medium": "email", "address": "a@b.test"}
    async with rooms.leaves_no_trace():
        assert (await alice.post(url, {})).outcome == (400, "M_MISSING_PARAM")
        assert (await alice.post(url, {"user_id": 1})).outcome == (400, "M_BAD_JSON")
        assert (await alice.post(url, {"user_id": "bob"})).outcome == (400, "M_INVALID_PARAM")
        assert (await alice.post(url, {"user_id": "@b:one.test", "reason": 1})).outcome == (400, "M_BAD_JSON")
        assert (await alice.post(url, by_mail)).outcome == (403, "M_THREEPID_DENIED")
        assert (await alice.post(in_room("lounge", "invite"), {"user_id": "@b:one.test"})).outcome == (
            400,
            "M_INVALID_PARAM",
        )
