"""``POST /_matrix/client/v3/publicRooms``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.client import Client
from tests.rig.rooms import Json, RoomServer


async def query(user: Client, **body: object) -> Json:
    response = await user.post("/publicRooms", body)
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def names(user: Client, **condition: object) -> set[str]:
    return {chunk["name"] for chunk in (await query(user, filter=condition))["chunk"]}


async def make(rooms: RoomServer) -> Client:
    alice = await rooms.register("alice")
    for body in (
        {"name": "Garden Club", "topic": "Weeds"},
        {"name": "Chess", "topic": "In the garden on Sundays"},
        {"name": "House", "creation_content": {"type": "m.space"}},
        {"name": "Board", "creation_content": {"type": "org.example.board"}},
    ):
        assert (await alice.post("/createRoom", {"visibility": "public", **body})).status == 200
    return alice


async def test_query_public_rooms_without_a_filter_shows_all(rooms: RoomServer) -> None:
    alice = await make(rooms)
    assert await names(alice) == {"Garden Club", "Chess", "House", "Board"}
    assert len((await alice.post("/publicRooms")).json["chunk"]) == 4


async def test_query_public_rooms_searches_in_any_case(rooms: RoomServer) -> None:
    alice = await make(rooms)
    assert await names(alice, generic_search_term="GARDEN") == {"Garden Club", "Chess"}
    assert await names(alice, generic_search_term="weeds") == {"Garden Club"}
    assert await names(alice, generic_search_term="nothing") == set()


@pytest.mark.parametrize(
    ("types", "shown"),
    [
        (["m.space"], {"House"}),
        ([None], {"Garden Club", "Chess"}),
        ([None, "org.example.board"], {"Garden Club", "Chess", "Board"}),
        ([], set()),
    ],
    ids=["spaces", "without a type", "one of two", "none"],
)
async def test_query_public_rooms_filters_by_type(rooms: RoomServer, types: list[str | None], shown: set[str]) -> None:
    assert await names(await make(rooms), room_types=types) == shown


async def test_query_public_rooms_pages_through_what_matches(rooms: RoomServer) -> None:
    alice = await make(rooms)
    condition = {"generic_search_term": "garden"}
    first = await query(alice, limit=1, filter=condition)
    second = await query(alice, limit=1, filter=condition, since=first["next_batch"])
    assert {chunk["name"] for page in (first, second) for chunk in page["chunk"]} == {"Garden Club", "Chess"}
    assert "next_batch" not in second
    assert (await query(alice, limit=1, filter=condition, since=second["prev_batch"]))["chunk"] == first["chunk"]


async def test_query_public_rooms_of_a_network_that_is_not_there_are_none(rooms: RoomServer) -> None:
    alice = await make(rooms)
    assert (await query(alice, third_party_instance_id="irc"))["chunk"] == []
    assert len((await query(alice, include_all_networks=True))["chunk"]) == 4


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"limit": "5"}, (400, "M_BAD_JSON")),
        ({"limit": -5}, (400, "M_INVALID_PARAM")),
        ({"since": "?"}, (400, "M_INVALID_PARAM")),
        ({"filter": []}, (400, "M_BAD_JSON")),
        ({"filter": {"room_types": [5]}}, (400, "M_BAD_JSON")),
        ({"filter": {"generic_search_term": 5}}, (400, "M_BAD_JSON")),
        ({"third_party_instance_id": "irc", "include_all_networks": True}, (400, "M_INVALID_PARAM")),
    ],
    ids=str,
)
async def test_query_public_rooms_refuses(rooms: RoomServer, body: Json, outcome: tuple[int, str]) -> None:
    alice = await rooms.register("alice")
    assert (await alice.post("/publicRooms", body)).outcome == outcome


async def test_query_public_rooms_asks_no_other_server(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    assert (await alice.post("/publicRooms", {}, server="two.test")).outcome == (403, "M_FORBIDDEN")


async def test_query_public_rooms_missing_token(rooms: RoomServer) -> None:
    assert (await rooms.client().post("/publicRooms", {})).outcome == (401, "M_MISSING_TOKEN")


async def test_query_public_rooms_asks_another_server_for_its_own(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    chunk: list[Any] = [
        {
            "room_id": "!r:two.test",
            "num_joined_members": 3,
            "world_readable": True,
            "guest_can_join": False,
            "name": "chess",
            "avatar_url": "mxc://two.test/a",
            "canonical_alias": "#chess:two.test",
            "room_type": "m.space",
            "org.example.secret": 1,
        },
        {"room_id": "!s:two.test", "num_joined_members": -1, "name": 1, "avatar_url": "x", "canonical_alias": "x"},
        {"room_id": "no room"},
        "nothing",
    ]
    answer = {"chunk": chunk, "next_batch": "n", "prev_batch": 1, "total_room_count_estimate": 7}
    rooms.remotes.servers["two.test"] = lambda question: answer
    body = {"limit": 3, "since": "s", "filter": {"generic_search_term": "che", "room_types": [None, "m.space"]}}
    response = await alice.post("/publicRooms", body, server="two.test")
    bare = {"room_id": "!s:two.test", "num_joined_members": 0, "world_readable": False, "guest_can_join": False}
    told = {key: value for key, value in chunk[0].items() if key != "org.example.secret"}
    assert response.json == {"chunk": [told, bare], "next_batch": "n", "total_room_count_estimate": 7}
    (question,) = rooms.remotes.asked
    assert (question.segments, question.content) == (("federation", "v1", "publicRooms"), body)


async def test_query_public_rooms_of_a_server_that_does_not_answer(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    rooms.remotes.servers["two.test"] = lambda question: {"chunk": {}}
    for silent in ("two.test", "three.test"):
        assert (await alice.post("/publicRooms", {}, server=silent)).outcome == (502, "M_UNKNOWN")
    assert (await alice.post("/publicRooms", {}, server="no name")).outcome == (400, "M_INVALID_PARAM")
