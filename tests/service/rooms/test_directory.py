"""The directory while it changes, and when it is long."""

from __future__ import annotations

import pytest
import trio

from conduit_py.service.rooms import directory
from tests.rig.client import Client, path
from tests.rig.rooms import Json, RoomServer, join


async def listed(creator: Client, name: str) -> str:
    response = await creator.post("/createRoom", {"visibility": "public", "name": name})
    room_id: str = response.json["room_id"]
    return room_id


async def page(client: Client, **query: str) -> Json:
    answer: Json = (await client.get("/publicRooms", **query)).json
    return answer


def ids(answer: Json) -> list[str]:
    return [chunk["room_id"] for chunk in answer["chunk"]]


async def test_largest_rooms_come_first(rooms: RoomServer) -> None:
    users = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_ids = [await listed(users[0], str(number)) for number in range(3)]
    for user in users[1:]:
        await join(user, room_ids[2])
    await join(users[1], room_ids[1])
    assert ids(await page(users[0])) == [room_ids[2], room_ids[1], room_ids[0]]


async def test_token_stays_good_when_the_room_it_names_is_taken_out(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    for number in range(4):
        await listed(alice, str(number))
    whole = ids(await page(alice))
    first = await page(alice, limit="2")
    assert ids(first) == whole[:2]
    taken_out = path("directory", "list", "room", whole[1])
    assert (await alice.put(taken_out, {"visibility": "private"})).status == 200
    second = await page(alice, limit="2", since=first["next_batch"])
    assert ids(second) == whole[2:]
    assert ids(await page(alice, limit="2", since=second["prev_batch"])) == whole[:1]


async def test_limit_is_bounded_and_0_is_left_to_the_server(rooms: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LIMIT_DEFAULT", 2)
    monkeypatch.setattr(directory, "LIMIT_MAX", 3)
    alice = await rooms.register("alice")
    for number in range(5):
        await listed(alice, str(number))
    assert len((await page(alice, limit="1000"))["chunk"]) == 3
    assert len((await page(alice, limit="0"))["chunk"]) == 2
    assert len((await page(alice))["chunk"]) == 2


async def test_empty_directory_has_no_tokens(rooms: RoomServer) -> None:
    assert await page(rooms.client()) == {"chunk": [], "total_room_count_estimate": 0}


async def test_others_get_their_turn_while_a_long_directory_is_searched(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "ROOMS_PER_SLICE", 1)
    alice = await rooms.register("alice")
    for number in range(6):
        await listed(alice, str(number))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        assert len((await page(alice))["chunk"]) == 6
        nursery.cancel_scope.cancel()
    assert turns >= 6
