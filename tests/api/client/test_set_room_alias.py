"""``PUT /_matrix/client/v3/directory/room/{roomAlias}``"""

from __future__ import annotations

from conduit_py.service.rooms.aliases import ALIASES_PER_ROOM_MAX
from tests.rig.client import Client, Response, path
from tests.rig.rooms import RoomServer, create, join, leave

ALIAS = "#lounge:one.test"


async def put(user: Client, alias: str, room_id: object) -> Response:
    return await user.put(path("directory", "room", alias), {"room_id": room_id})


async def test_set_room_alias_names_the_room(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    assert (await put(bob, ALIAS, room_id)).json == {}
    answer = (await rooms.client().get(path("directory", "room", ALIAS))).json
    assert answer == {"room_id": room_id, "servers": ["one.test"]}
    assert (await alice.post(path("join", ALIAS), {})).json == {"room_id": room_id}


async def test_set_room_alias_unknown_when_it_is_taken(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id, other = await create(alice), await create(alice)
    assert (await put(alice, ALIAS, room_id)).status == 200
    async with rooms.leaves_no_trace():
        for wanted in (room_id, other):
            response = await put(alice, ALIAS, wanted)
            assert response.outcome == (409, "M_UNKNOWN")
            assert response.json["error"] == f"Room alias {ALIAS} already exists."


async def test_set_room_alias_forbidden_for_who_is_not_in_the_room(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    async with rooms.leaves_no_trace():
        assert (await put(bob, ALIAS, room_id)).outcome == (403, "M_FORBIDDEN")
        assert (await put(bob, ALIAS, "!nowhere:one.test")).outcome == (403, "M_FORBIDDEN")
    await join(bob, room_id)
    await leave(bob, room_id)
    assert (await put(bob, ALIAS, room_id)).outcome == (403, "M_FORBIDDEN")


async def test_set_room_alias_forbidden_beyond_the_maximum(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    for number in range(ALIASES_PER_ROOM_MAX):
        assert (await put(alice, f"#{number}:one.test", room_id)).status == 200
    assert (await put(alice, ALIAS, room_id)).outcome == (403, "M_FORBIDDEN")


async def test_set_room_alias_refuses_what_it_cannot_make(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    async with rooms.leaves_no_trace():
        assert (await put(alice, "lounge", room_id)).outcome == (400, "M_INVALID_PARAM")
        assert (await put(alice, "#lounge:two.test", room_id)).outcome == (400, "M_INVALID_PARAM")
        assert (await put(alice, ALIAS, "lounge")).outcome == (400, "M_INVALID_PARAM")
        assert (await put(alice, ALIAS, 5)).outcome == (400, "M_BAD_JSON")
        assert (await alice.put(path("directory", "room", ALIAS), {})).outcome == (400, "M_MISSING_PARAM")
