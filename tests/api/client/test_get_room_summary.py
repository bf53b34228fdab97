"""``GET /_matrix/client/v1/room_summary/{roomIdOrAlias}``"""

from __future__ import annotations

import pytest

from tests.rig.client import Client, Response, path
from tests.rig.rooms import Json, ban, create, invite, join, leave
from tests.rig.whole import WholeServer


async def summary(user: Client, room: str) -> Response:
    return await user.get("/_matrix/client/v1/room_summary" + path(room))


def join_rule(rule: str, *allowed: str) -> Json:
    allow = [{"type": "m.room_membership", "room_id": room_id} for room_id in allowed]
    return {"type": "m.room.join_rules", "content": {"join_rule": rule, **({"allow": allow} if allow else {})}}


async def test_get_room_summary_tells_what_a_room_is(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    room_id = await create(
        alice,
        name="CHEESE",
        topic="Tasty",
        room_alias_name="cheese",
        initial_state=[encryption],
        creation_content={"type": "m.space"},
    )
    told = {
        "room_id": room_id,
        "name": "CHEESE",
        "topic": "Tasty",
        "canonical_alias": "#cheese:one.test",
        "num_joined_members": 1,
        "world_readable": False,
        "guest_can_join": False,
        "join_rule": "public",
        "room_type": "m.space",
        "room_version": "11",
        "encryption": "m.megolm.v1.aes-sha2",
    }
    assert (await summary(whole.client(), room_id)).json == told
    assert (await summary(bob, "#cheese:one.test")).json == {**told, "membership": "leave"}
    assert (await summary(alice, room_id)).json == {**told, "membership": "join"}


@pytest.mark.parametrize("rule", ["public", "knock", "knock_restricted"])
async def test_get_room_summary_is_open_to_everybody_where_anybody_may_ask(whole: WholeServer, rule: str) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, initial_state=[join_rule(rule)])
    for user in (whole.client(), bob):
        assert (await summary(user, room_id)).json["join_rule"] == rule


async def test_get_room_summary_is_open_to_everybody_where_anybody_may_read(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, preset="private_chat", visibility="world_readable")
    await invite(alice, room_id, bob)
    await ban(alice, room_id, bob)
    assert (await summary(whole.client(), room_id)).status == 200
    assert (await summary(bob, room_id)).json["membership"] == "ban"


async def test_get_room_summary_tells_the_invited(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, preset="private_chat")
    await invite(alice, room_id, bob)
    assert (await summary(bob, room_id)).json["membership"] == "invite"
    await join(bob, room_id)
    await leave(bob, room_id)
    assert (await summary(bob, room_id)).outcome == (404, "M_NOT_FOUND")


async def test_get_room_summary_tells_who_may_join_by_another_room(whole: WholeServer) -> None:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    lobby = await create(alice)
    await join(bob, lobby)
    room_id = await create(alice, initial_state=[join_rule("restricted", lobby)])
    assert (await summary(bob, room_id)).json["allowed_room_ids"] == [lobby]
    for user in (carol, whole.client()):
        assert (await summary(user, room_id)).outcome == (404, "M_NOT_FOUND")


async def test_get_room_summary_not_found(whole: WholeServer) -> None:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    private = await create(alice, preset="private_chat")
    old = await create(alice, room_version="6", initial_state=[join_rule("knock")])
    public = await create(alice)
    await ban(alice, public, carol)
    for user, room in (
        (bob, private),
        (bob, old),
        (carol, public),
        (whole.client(), private),
        (bob, "!nothing:one.test"),
        (bob, "#nothing:one.test"),
    ):
        assert (await summary(user, room)).outcome == (404, "M_NOT_FOUND")


async def test_get_room_summary_unknown_token(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    alice.access_token = "nobody's"
    assert (await summary(alice, room_id)).outcome == (401, "M_UNKNOWN_TOKEN")
