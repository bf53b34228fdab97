"""``POST /_matrix/client/v3/knock/{roomIdOrAlias}``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.client import Client, Response, path
from tests.rig.rooms import ban, create, in_room, invite, join, leave, set_state
from tests.rig.whole import WholeServer

KNOCK = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}


async def create_knockable(creator: Client, **body: Any) -> str:
    return await create(creator, initial_state=[KNOCK], **body)


async def knock(user: Client, room: str, **body: Any) -> Response:
    return await user.post(path("knock", room), body)


async def test_knock_room_shows_the_knock_to_the_room(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_knockable(alice)
    response = await knock(bob, room_id, reason="let me in")
    assert (response.status, response.json) == (200, {"room_id": room_id})
    member = await alice.get(in_room(room_id, "state", "m.room.member", bob.user_id))
    assert (member.json["membership"], member.json["reason"]) == ("knock", "let me in")


async def test_knock_room_shows_the_room_in_sync(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_knockable(alice, name="closed")
    since = (await bob.get("/sync")).json["next_batch"]
    await knock(bob, room_id)
    knocked = (await bob.get("/sync", since=since)).json["rooms"]["knock"][room_id]["knock_state"]["events"]
    shown = {event["type"]: event["content"] for event in knocked}
    assert shown["m.room.name"] == {"name": "closed"}
    assert shown["m.room.member"]["membership"] == "knock"


async def test_knock_room_takes_a_local_alias(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_knockable(alice, room_alias_name="door")
    assert (await knock(bob, "#door:one.test")).json == {"room_id": room_id}


async def test_knock_room_again_changes_nothing(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_knockable(alice)
    await knock(bob, room_id)
    async with whole.leaves_no_trace():
        assert (await knock(bob, room_id)).status == 200


async def test_knock_room_is_answered_by_an_invite(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_knockable(alice)
    await knock(bob, room_id)
    await invite(alice, room_id, bob)
    await join(bob, room_id)
    assert (await bob.get("/joined_rooms")).json == {"joined_rooms": [room_id]}


async def test_knock_room_is_taken_back_by_leaving(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_knockable(alice)
    await knock(bob, room_id)
    await leave(bob, room_id)
    member = await alice.get(in_room(room_id, "state", "m.room.member", bob.user_id))
    assert member.json["membership"] == "leave"


@pytest.mark.parametrize(("version", "rule"), [("7", "knock"), ("10", "knock_restricted"), ("12", "knock_restricted")])
async def test_knock_room_works_in_versions_that_know_the_rule(whole: WholeServer, version: str, rule: str) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    state = {"type": "m.room.join_rules", "content": {"join_rule": rule}}
    room_id = await create(alice, room_version=version, initial_state=[state])
    assert (await knock(bob, room_id)).status == 200


async def test_knock_room_forbidden_unless_the_room_takes_knocks(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    public = await create(alice)
    closed = await create(alice, preset="private_chat")
    old = await create_knockable(alice, room_version="6")
    async with whole.leaves_no_trace():
        for room_id in (public, closed, old):
            assert (await knock(bob, room_id)).outcome == (403, "M_FORBIDDEN")


async def test_knock_room_forbidden_to_members_invited_and_banned(whole: WholeServer) -> None:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create_knockable(alice)
    await ban(alice, room_id, bob)
    await invite(alice, room_id, carol)
    async with whole.leaves_no_trace():
        for user in (alice, bob, carol):
            assert (await knock(user, room_id)).outcome == (403, "M_FORBIDDEN")


async def test_knock_room_user_suspended(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_knockable(alice)
    await whole.change_account(bob, is_suspended=True)
    async with whole.leaves_no_trace():
        assert (await knock(bob, room_id)).outcome == (403, "M_USER_SUSPENDED")


@pytest.mark.parametrize("room", ["!nothing:one.test", "#nothing:one.test"])
async def test_knock_room_not_found(whole: WholeServer, room: str) -> None:
    bob = await whole.register("bob")
    assert (await knock(bob, room)).outcome == (404, "M_NOT_FOUND")


async def test_knock_room_missing_token(whole: WholeServer) -> None:
    assert (await knock(whole.client(), "!room:one.test")).outcome == (401, "M_MISSING_TOKEN")


async def test_knock_room_after_the_rule_changed(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await set_state(alice, room_id, "m.room.join_rules", {"join_rule": "knock"})
    assert (await knock(bob, room_id)).status == 200
