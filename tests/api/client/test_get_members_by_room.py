"""``GET /_matrix/client/v3/rooms/{roomId}/members``"""

from __future__ import annotations

import pytest

from tests.rig.client import Client
from tests.rig.rooms import RoomServer, ban, create, in_room, invite, join, leave, send, set_state


async def memberships(user: Client, room_id: str, **query: str) -> dict[str, str]:
    response = await user.get(in_room(room_id, "members"), **query)
    assert response.status == 200, response.body
    chunk = response.json["chunk"]
    assert {event["type"] for event in chunk} <= {"m.room.member"}
    return {event["state_key"][1:].partition(":")[0]: event["content"]["membership"] for event in chunk}


async def story(rooms: RoomServer) -> tuple[Client, Client, str]:
    alice, bob, carol, dave, erin = [await rooms.register(name) for name in ("alice", "bob", "carol", "dave", "erin")]
    room_id = await create(alice)
    for user in (bob, carol, dave):
        await join(user, room_id)
    await leave(carol, room_id)
    await ban(alice, room_id, dave)
    await invite(alice, room_id, erin)
    return alice, bob, room_id


ALL = {"alice": "join", "bob": "join", "carol": "leave", "dave": "ban", "erin": "invite"}


async def test_get_members_by_room_shows_all(rooms: RoomServer) -> None:
    alice, _, room_id = await story(rooms)
    assert await memberships(alice, room_id) == ALL


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"membership": "join"}, "alice bob"),
        ({"membership": "invite"}, "erin"),
        ({"membership": "knock"}, ""),
        ({"not_membership": "join"}, "carol dave erin"),
        ({"not_membership": "leave"}, "alice bob dave erin"),
        ({"membership": "join", "not_membership": "leave"}, "alice bob dave erin"),
        ({"membership": "leave", "not_membership": "leave"}, "alice bob carol dave erin"),
    ],
    ids=str,
)
async def test_get_members_by_room_filters(rooms: RoomServer, query: dict[str, str], shown: str) -> None:
    alice, _, room_id = await story(rooms)
    assert set(await memberships(alice, room_id, **query)) == set(shown.split())


async def test_get_members_by_room_forbidden_at_a_time_that_is_hidden_from_who_joined_later(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    await join(carol, room_id)
    before = (await alice.get(in_room(room_id, "messages"), dir="b", limit="0")).json["start"]
    await leave(carol, room_id)
    await join(bob, room_id)
    now = (await bob.get(in_room(room_id, "messages"), dir="b", limit="0")).json["start"]
    await send(alice, room_id, "hi")
    assert (await bob.get(in_room(room_id, "members"), at=before)).outcome == (403, "M_FORBIDDEN")
    assert await memberships(bob, room_id, at=now) == {"alice": "join", "bob": "join", "carol": "leave"}
    assert await memberships(alice, room_id, at=before) == {"alice": "join", "carol": "join"}
    assert await memberships(carol, room_id, at=before) == {"alice": "join", "carol": "join"}


async def test_get_members_by_room_at_an_earlier_place(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    before = (await alice.get(in_room(room_id, "messages"), dir="b", limit="0")).json["start"]
    await join(bob, room_id)
    between = (await alice.get(in_room(room_id, "messages"), dir="b", limit="0")).json["start"]
    await leave(bob, room_id)
    assert await memberships(alice, room_id, at=before) == {"alice": "join"}
    assert await memberships(alice, room_id, at=between) == {"alice": "join", "bob": "join"}
    assert await memberships(alice, room_id) == {"alice": "join", "bob": "leave"}


async def test_get_members_by_room_is_that_of_the_leave_for_who_left(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await join(bob, room_id)
    await leave(bob, room_id)
    await join(carol, room_id)
    await send(carol, room_id, "hello")
    assert await memberships(bob, room_id) == {"alice": "join", "bob": "leave"}
    now = (await alice.get(in_room(room_id, "messages"), dir="b", limit="0")).json["start"]
    assert await memberships(bob, room_id, at=now) == {"alice": "join", "bob": "leave"}


async def test_get_members_by_room_forbidden(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    assert (await bob.get(in_room(room_id, "members"))).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("query", [{"membership": "friend"}, {"not_membership": "foe"}, {"at": "then"}])
async def test_get_members_by_room_invalid_param(rooms: RoomServer, query: dict[str, str]) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    assert (await alice.get(in_room(room_id, "members"), **query)).outcome == (400, "M_INVALID_PARAM")
