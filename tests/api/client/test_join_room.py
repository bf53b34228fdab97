"""``POST /_matrix/client/v3/rooms/{roomId}/join`` and ``POST /_matrix/client/v3/join/{roomIdOrAlias}``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.asking import VERSIONS, ask_member, ask_state, get_content, membership_of, set_levels, timeline_of
from tests.rig.client import Client, Response, path
from tests.rig.rooms import RoomServer, ban, create, in_room, invite, join, kick, leave, set_state


async def ask(user: Client, room_id: str, **body: Any) -> Response:
    return await user.post(in_room(room_id, "join"), body)


async def make_restricted(creator: Client, *allowed: str, rule: str = "restricted", version: str = "11") -> str:
    allow = [{"type": "m.room_membership", "room_id": room_id} for room_id in allowed]
    rules = {"type": "m.room.join_rules", "content": {"join_rule": rule, "allow": allow}}
    return await create(creator, preset="private_chat", initial_state=[rules], room_version=version)


@pytest.mark.parametrize("version", VERSIONS)
async def test_join_room_by_id_joins_with_profile_and_reason(rooms: RoomServer, version: str) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    assert (await bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob"})).status == 200
    room_id = await create(alice, room_version=version)
    response = await ask(bob, room_id, reason="chairs")
    assert response.json == {"room_id": room_id}
    content = await get_content(bob, room_id, "m.room.member", bob.user_id)
    assert content == {"membership": "join", "displayname": "Bob", "reason": "chairs"}


async def test_join_room_takes_ids_and_aliases(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice, room_alias_name="lounge")
    for user, named in ((bob, room_id), (carol, "#lounge:one.test")):
        response = await user.post(path("join", named) + "?via=two.test&via=three.test&server_name=two.test")
        assert response.json == {"room_id": room_id}
        assert await membership_of(alice, room_id, user.user_id) == "join"


async def test_join_room_does_nothing_for_who_is_joined(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, preset="private_chat")
    async with rooms.leaves_no_trace():
        assert (await ask(alice, room_id, reason="again")).json == {"room_id": room_id}


async def test_join_room_takes_an_invite(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, preset="private_chat")
    await invite(alice, room_id, bob)
    assert (await ask(bob, room_id)).status == 200


async def test_join_room_lets_kicked_and_unbanned_users_come_back(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    for _ in range(2):
        await join(bob, room_id)
        await kick(alice, room_id, bob)
    await ban(alice, room_id, bob)
    assert (await ask(bob, room_id)).outcome == (403, "M_FORBIDDEN")
    assert (await ask_member(alice, room_id, "unban", bob.user_id)).status == 200
    assert (await ask(bob, room_id)).status == 200


async def test_join_room_finds_an_empty_room_again(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    await leave(alice, room_id)
    assert (await ask(alice, room_id)).status == 200


@pytest.mark.parametrize("rule", ["invite", "knock", "restricted", "knock_restricted", "private", 5, None])
async def test_join_room_forbidden_without_an_invite(rooms: RoomServer, rule: object) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, initial_state=[{"type": "m.room.join_rules", "content": {"join_rule": rule}}])
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id)).outcome == (403, "M_FORBIDDEN")
        assert (await bob.post(f"/join/{room_id}", {})).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("rule", ["public", "invite", "restricted"])
async def test_join_room_forbidden_for_the_banned(rooms: RoomServer, rule: str) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    hall = await create(alice)
    await join(bob, hall)
    room_id = await make_restricted(alice, hall, rule=rule)
    await ban(alice, room_id, bob)
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id)).outcome == (403, "M_FORBIDDEN")


async def test_join_room_not_found(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    await rooms.hear_of_room("!heard:two.test")
    async with rooms.leaves_no_trace():
        for named in ("!nowhere:one.test", "!heard:two.test", "#nowhere:one.test", "#lounge:two.test"):
            assert (await alice.post(path("join", named), {})).outcome == (404, "M_NOT_FOUND")


async def test_join_room_refuses_what_names_no_room(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    await create(alice, room_alias_name="lounge")
    async with rooms.leaves_no_trace():
        assert (await alice.post(path("join", "lounge"), {})).outcome == (400, "M_INVALID_PARAM")
        assert (await ask(alice, "#lounge:one.test")).outcome == (400, "M_INVALID_PARAM")
        assert (await ask(alice, "!nowhere:one.test", reason=1)).outcome == (400, "M_BAD_JSON")


# Restricted rooms.


@pytest.mark.parametrize(
    ("rule", "version"),
    [("restricted", "8"), ("restricted", "9"), ("restricted", "12"), ("knock_restricted", "10")],
)
async def test_join_room_authorises_members_of_an_allowed_room(rooms: RoomServer, rule: str, version: str) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    hall = await create(alice, room_version=version)
    room_id = await make_restricted(alice, "!nowhere:one.test", hall, rule=rule, version=version)
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id)).outcome == (403, "M_FORBIDDEN")
    await join(bob, hall)
    assert (await ask(bob, room_id)).status == 200
    content = await get_content(bob, room_id, "m.room.member", bob.user_id)
    assert content["join_authorised_via_users_server"] == alice.user_id


@pytest.mark.parametrize(("rule", "version"), [("restricted", "7"), ("knock_restricted", "9")])
async def test_join_room_forbidden_by_rules_that_the_version_does_not_know(
    rooms: RoomServer, rule: str, version: str
) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    hall = await create(alice)
    await join(bob, hall)
    room_id = await make_restricted(alice, hall, rule=rule, version=version)
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id)).outcome == (403, "M_FORBIDDEN")


async def test_join_room_needs_nobody_for_the_invited(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await make_restricted(alice)
    await invite(alice, room_id, bob)
    assert (await ask(bob, room_id)).status == 200
    content = await get_content(bob, room_id, "m.room.member", bob.user_id)
    assert "join_authorised_via_users_server" not in content


@pytest.mark.parametrize("standing", ["invite", "leave", "ban", "none"])
async def test_join_room_forbidden_when_only_joined_members_are_allowed(rooms: RoomServer, standing: str) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    hall = await create(alice)
    if standing == "leave":
        await join(bob, hall)
        await leave(bob, hall)
    elif standing != "none":
        assert (await ask_member(alice, hall, standing, bob.user_id)).status == 200
    room_id = await make_restricted(alice, hall)
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id)).outcome == (403, "M_FORBIDDEN")


async def test_join_room_unable_to_grant_join_when_nobody_may_invite(rooms: RoomServer) -> None:
    alice, bob, carol, dave = [await rooms.register(name) for name in ("alice", "bob", "carol", "dave")]
    hall = await create(alice)
    for user in (bob, carol, dave):
        await join(user, hall)
    room_id = await make_restricted(alice, hall)
    await set_levels(alice, room_id, invite=100)
    await join(carol, room_id)
    await ban(alice, room_id, dave)
    await leave(alice, room_id)
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id)).outcome == (400, "M_UNABLE_TO_GRANT_JOIN")
        assert (await ask(dave, room_id)).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    "allow",
    [None, {}, "all", [1], [{}], [{"type": "m.room_membership"}], [{"type": "org.example", "room_id": "!a:one.test"}]],
)
async def test_join_room_forbidden_by_conditions_that_nobody_can_read(rooms: RoomServer, allow: object) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    room_id = await create(alice, initial_state=[rules])
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id)).outcome == (403, "M_FORBIDDEN")


# Who may join at all.


async def test_join_room_user_suspended(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await invite(alice, room_id, bob)
    await rooms.change_account(bob, is_suspended=True)
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id)).outcome == (403, "M_USER_SUSPENDED")


@pytest.mark.parametrize("content", [None, {}, {"guest_access": "forbidden"}, {"guest_access": ["can_join"]}])
async def test_join_room_guest_access_forbidden(rooms: RoomServer, content: dict[str, Any] | None) -> None:
    alice, gast = await rooms.register("alice"), await rooms.register("gast")
    room_id = await create(alice)
    if content is not None:
        await set_state(alice, room_id, "m.room.guest_access", content)
    await invite(alice, room_id, gast)
    await rooms.change_account(gast, is_guest=True)
    async with rooms.leaves_no_trace():
        assert (await ask(gast, room_id)).outcome == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_join_room_lets_guests_in_and_out_with_guest_access(rooms: RoomServer) -> None:
    alice, bob, gast = [await rooms.register(name) for name in ("alice", "bob", "gast")]
    await rooms.change_account(gast, is_guest=True)
    room_id = await create(alice)
    await join(bob, room_id)
    for shut in ("state", "redaction"):
        opened = await set_state(alice, room_id, "m.room.guest_access", {"guest_access": "can_join"})
        await join(gast, room_id)
        await set_state(alice, room_id, "m.room.name", {"name": shut})
        assert (
            await gast.put(in_room(room_id, "send", "m.room.message", shut), {"msgtype": "m.text", "body": "hi"})
        ).status == 200
        if shut == "state":
            await set_state(alice, room_id, "m.room.guest_access", {"guest_access": "forbidden"})
        else:
            assert (await alice.put(in_room(room_id, "redact", opened, "1"), {})).status == 200
        assert await membership_of(alice, room_id, gast.user_id) == "leave"
        assert await membership_of(alice, room_id, bob.user_id) == "join"


async def test_join_room_keeps_guests_when_guest_access_may_not_be_changed(rooms: RoomServer) -> None:
    alice, bob, gast = [await rooms.register(name) for name in ("alice", "bob", "gast")]
    await rooms.change_account(gast, is_guest=True)
    room_id = await create(alice)
    old = await set_state(alice, room_id, "m.room.guest_access", {"guest_access": "can_join", "old": True})
    await set_state(alice, room_id, "m.room.guest_access", {"guest_access": "can_join"})
    await join(gast, room_id)
    await join(bob, room_id)
    async with rooms.leaves_no_trace():
        assert (await ask_state(bob, room_id, "m.room.guest_access", {})).outcome == (403, "M_FORBIDDEN")
    assert (await alice.put(in_room(room_id, "redact", old, "1"), {})).status == 200
    assert await membership_of(alice, room_id, gast.user_id) == "join"
    assert (await timeline_of(alice, room_id))[-1]["type"] == "m.room.redaction"


async def test_join_room_forbidden_with_a_third_party_invite_that_is_none(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, preset="private_chat")
    async with rooms.leaves_no_trace():
        assert (await ask(bob, room_id, third_party_signed={})).outcome == (403, "M_FORBIDDEN")
        assert (await ask(bob, room_id, third_party_signed=7)).outcome == (400, "M_BAD_JSON")
