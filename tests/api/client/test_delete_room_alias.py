"""``DELETE /_matrix/client/v3/directory/room/{roomAlias}``"""

from __future__ import annotations

import pytest

from tests.rig.client import Client, path
from tests.rig.rooms import RoomServer, create, in_room, join, leave, set_state

PATH = path("directory", "room", "#lounge:one.test")


async def make(rooms: RoomServer) -> tuple[Client, Client, Client, str]:
    """An administrator, the creator of a room, a member who gave it an alias, and the room."""
    admin, alice, bob = [await rooms.register(name) for name in ("admin", "alice", "bob")]
    room_id = await create(alice)
    await join(bob, room_id)
    assert (await bob.put(PATH, {"room_id": room_id})).status == 200
    return admin, alice, bob, room_id


@pytest.mark.parametrize("who", [0, 1, 2], ids=["administrator", "power", "maker"])
async def test_delete_room_alias_removes_it(rooms: RoomServer, who: int) -> None:
    *users, room_id = await make(rooms)
    user = users[who]
    assert isinstance(user, Client)
    assert (await user.delete(PATH)).json == {}
    assert (await user.get(PATH)).outcome == (404, "M_NOT_FOUND")
    bob, room = users[2], str(room_id)
    assert isinstance(bob, Client)
    assert (await bob.get(in_room(room, "aliases"))).json == {"aliases": []}
    assert (await bob.put(PATH, {"room_id": room})).status == 200


async def test_delete_room_alias_by_its_maker_who_left(rooms: RoomServer) -> None:
    _, _, bob, room_id = await make(rooms)
    await leave(bob, room_id)
    assert (await bob.delete(PATH)).status == 200


async def test_delete_room_alias_takes_it_out_of_the_canonical_alias(rooms: RoomServer) -> None:
    _, alice, bob, room_id = await make(rooms)
    other = "#other:one.test"
    assert (await alice.put(path("directory", "room", other), {"room_id": room_id})).status == 200
    content = {"alias": "#lounge:one.test", "alt_aliases": [other, "#lounge:one.test"]}
    await set_state(alice, room_id, "m.room.canonical_alias", content)
    assert (await alice.delete(PATH)).status == 200
    canonical = await bob.get(in_room(room_id, "state", "m.room.canonical_alias"))
    assert canonical.json == {"alt_aliases": [other]}


async def test_delete_room_alias_leaves_the_canonical_alias_to_those_with_power(rooms: RoomServer) -> None:
    _, alice, bob, room_id = await make(rooms)
    content = {"alias": "#lounge:one.test"}
    await set_state(alice, room_id, "m.room.canonical_alias", content)
    assert (await bob.delete(PATH)).status == 200
    assert (await bob.get(in_room(room_id, "state", "m.room.canonical_alias"))).json == content


async def test_delete_room_alias_forbidden_for_others(rooms: RoomServer) -> None:
    _, alice, _, room_id = await make(rooms)
    carol = await rooms.register("carol")
    await join(carol, room_id)
    async with rooms.leaves_no_trace():
        assert (await carol.delete(PATH)).outcome == (403, "M_FORBIDDEN")
    await leave(alice, room_id)
    assert (await alice.delete(PATH)).outcome == (403, "M_FORBIDDEN")


async def test_delete_room_alias_not_found(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    assert (await alice.delete(PATH)).outcome == (404, "M_NOT_FOUND")


async def test_delete_room_alias_invalid_param(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    assert (await alice.delete(path("directory", "room", "lounge"))).outcome == (400, "M_INVALID_PARAM")
