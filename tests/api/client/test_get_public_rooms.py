"""``GET /_matrix/client/v3/publicRooms``"""

from __future__ import annotations

import pytest

from tests.rig.client import Client
from tests.rig.rooms import Json, RoomServer, create, join, leave, set_state


async def get(client: Client, **query: str) -> Json:
    response = await client.get("/publicRooms", **query)
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def listed(creator: Client, **body: object) -> str:
    response = await creator.post("/createRoom", {"visibility": "public", "preset": "public_chat", **body})
    assert response.status == 200, response.body
    room_id: str = response.json["room_id"]
    return room_id


def names(answer: Json) -> list[str]:
    return [chunk["name"] for chunk in answer["chunk"]]


async def test_get_public_rooms_tells_about_a_room(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await listed(
        alice,
        name="Lounge",
        topic="Seats",
        room_alias_name="lounge",
        creation_content={"type": "m.space"},
        initial_state=[
            {"type": "m.room.avatar", "content": {"url": "mxc://one.test/seat"}},
            {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
        ],
    )
    await set_state(alice, room_id, "m.room.canonical_alias", {"alias": "#lounge:one.test"})
    await join(bob, room_id)
    answer = await get(rooms.client())
    assert answer["total_room_count_estimate"] == 1
    assert answer["chunk"] == [
        {
            "room_id": room_id,
            "num_joined_members": 2,
            "world_readable": True,
            "guest_can_join": True,
            "name": "Lounge",
            "topic": "Seats",
            "avatar_url": "mxc://one.test/seat",
            "canonical_alias": "#lounge:one.test",
            "room_type": "m.space",
            "join_rule": "public",
        }
    ]


async def test_get_public_rooms_tells_only_what_there_is(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await listed(alice)
    await set_state(alice, room_id, "m.room.avatar", {"url": "http://elsewhere/"})
    await set_state(alice, room_id, "m.room.topic", {"topic": "<b>", "m.topic": {"m.text": [{"body": "plain"}]}})
    (chunk,) = (await get(rooms.client()))["chunk"]
    assert not {"name", "avatar_url", "canonical_alias", "room_type"} & set(chunk)
    assert chunk["topic"] == "plain"


async def test_get_public_rooms_leaves_out_rooms_without_a_way_in(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    private = await create(alice, name="unpublished")
    deserted = await listed(alice, name="deserted")
    await leave(alice, deserted)
    closed = await listed(alice, name="closed")
    await set_state(alice, closed, "m.room.join_rules", {"join_rule": "invite"})
    readable = await listed(alice, name="readable")
    await set_state(alice, readable, "m.room.join_rules", {"join_rule": "invite"})
    await set_state(alice, readable, "m.room.history_visibility", {"history_visibility": "world_readable"})
    knocking = await listed(alice, name="knocking")
    await set_state(alice, knocking, "m.room.join_rules", {"join_rule": "knock"})
    answer = await get(rooms.client())
    assert sorted(names(answer)) == ["knocking", "readable"]
    assert private not in str(answer)


async def test_get_public_rooms_pages_through_all_in_both_directions(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_ids = [await listed(alice, name=str(number)) for number in range(7)]
    for room_id in room_ids[3:5]:
        await join(bob, room_id)
    whole = names(await get(rooms.client()))
    assert set(whole[:2]) == {"3", "4"}
    assert set(whole) == {str(number) for number in range(7)}

    pages = [await get(rooms.client(), limit="3")]
    assert "prev_batch" not in pages[0]
    while "next_batch" in pages[-1]:
        pages.append(await get(rooms.client(), limit="3", since=pages[-1]["next_batch"]))
    assert [len(page["chunk"]) for page in pages] == [3, 3, 1]
    assert [name for page in pages for name in names(page)] == whole

    back = [await get(rooms.client(), limit="3", since=pages[-1]["prev_batch"])]
    while "prev_batch" in back[-1]:
        back.append(await get(rooms.client(), limit="3", since=back[-1]["prev_batch"]))
    assert [names(page) for page in back] == [names(pages[1]), names(pages[0])]
    assert names(await get(rooms.client(), limit="3", since=back[-1]["next_batch"])) == names(pages[1])


async def test_get_public_rooms_asks_no_other_server_without_federation(rooms: RoomServer) -> None:
    assert (await rooms.client().get("/publicRooms", server="two.test")).outcome == (403, "M_FORBIDDEN")
    assert (await rooms.client().get("/publicRooms", server="one.test")).json["chunk"] == []


@pytest.mark.parametrize("query", [{"limit": "-1"}, {"limit": "x"}, {"since": "%%"}, {"since": "eHkgIXo"}])
async def test_get_public_rooms_invalid_param(rooms: RoomServer, query: dict[str, str]) -> None:
    assert (await rooms.client().get("/publicRooms", **query)).outcome == (400, "M_INVALID_PARAM")
