"""``POST /_matrix/client/v3/user_directory/search``"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.service.users import user_directory
from tests.rig.auth import by_password
from tests.rig.client import Client
from tests.rig.remote_members import RemoteMembers
from tests.rig.rooms import RoomServer, create, invite, join, leave
from tests.rig.server import Server

SEARCH = "/user_directory/search"


@pytest.fixture
async def alice(rooms: RoomServer) -> Client:
    return await rooms.register("alice")


@pytest.fixture
async def bob(rooms: RoomServer, alice: Client) -> Client:
    """Shares a room with alice that is closed to everybody else."""
    bob = await rooms.register("bob")
    await together(alice, bob)
    return bob


async def together(owner: Client, *users: Client) -> str:
    room_id = await create(owner, preset="private_chat")
    for user in users:
        await invite(owner, room_id, user)
        await join(user, room_id)
    return room_id


async def search(user: Client, term: str, **more: Any) -> list[str]:
    response = await user.post(SEARCH, {"search_term": term, **more})
    assert response.status == 200, response.body
    return [found["user_id"] for found in response.json["results"]]


async def rename(user: Client, name: str) -> None:
    response = await user.put(f"/profile/{user.user_id}/displayname", {"displayname": name})
    assert response.status == 200


async def test_search_user_directory_tells_the_profile(alice: Client, bob: Client) -> None:
    await rename(bob, "Robert Gärtner")
    await bob.put(f"/profile/{bob.user_id}/avatar_url", {"avatar_url": "mxc://one.test/bob"})
    response = await alice.post(SEARCH, {"search_term": "robert"})
    found = {"user_id": bob.user_id, "display_name": "Robert Gärtner", "avatar_url": "mxc://one.test/bob"}
    assert response.json == {"results": [found], "limited": False}


@pytest.mark.parametrize(
    "term",
    [
        "bob",
        "BOB",
        "b",
        "rob",
        "gärt",
        "GÄRT",
        "robert gärtner",
        "Gärtner, Robert",
        "bob gär",
        "@bob",
        "@bob:one.test",
        "@BOB:one.t",
        "  bob  ",
    ],
)
async def test_search_user_directory_finds_by_beginnings_of_words(alice: Client, bob: Client, term: str) -> None:
    await rename(bob, "Robert Gärtner")
    assert await search(alice, term) == [bob.user_id]


@pytest.mark.parametrize("term", ["", "!", "ob", "one", "test", "bob carol", "@bob:two.test", "@robert:one.test"])
async def test_search_user_directory_finds_nothing_else(alice: Client, bob: Client, term: str) -> None:
    await rename(bob, "Robert Gärtner")
    assert await search(alice, term) == []


async def test_search_user_directory_knows_no_name_any_more(alice: Client, bob: Client) -> None:
    await rename(bob, "Robert")
    await rename(bob, "Zoe")
    assert await search(alice, "robert") == []
    assert await search(alice, "zoe") == [bob.user_id]
    await bob.delete(f"/profile/{bob.user_id}/displayname")
    assert await search(alice, "zoe") == []
    assert await search(alice, "bob") == [bob.user_id]


async def test_search_user_directory_hides_who_shares_nothing(rooms: RoomServer, alice: Client, bob: Client) -> None:
    carol = await rooms.register("carol")
    await together(carol, bob)
    assert await search(alice, "carol") == []
    assert await search(carol, "alice") == []
    assert await search(carol, "bob") == [bob.user_id]


async def test_search_user_directory_forgets_who_left(rooms: RoomServer, alice: Client) -> None:
    carol = await rooms.register("carol")
    room_id = await together(alice, carol)
    assert await search(alice, "carol") == [carol.user_id]
    await leave(carol, room_id)
    assert await search(alice, "carol") == []


async def test_search_user_directory_finds_people_of_public_rooms(rooms: RoomServer, alice: Client) -> None:
    carol = await rooms.register("carol")
    await create(carol)
    assert await search(alice, "carol") == [carol.user_id]


async def test_search_user_directory_finds_people_of_world_readable_rooms(rooms: RoomServer, alice: Client) -> None:
    carol, dave = await rooms.register("carol"), await rooms.register("dave")
    await create(carol, preset="private_chat", visibility="world_readable")
    await create(dave, preset="private_chat", visibility="shared")
    assert await search(alice, "carol") == [carol.user_id]
    assert await search(alice, "dave") == []


async def test_search_user_directory_leaves_the_searcher_out(alice: Client, bob: Client) -> None:
    assert await search(bob, "bob") == []
    assert await search(bob, "alice") == [alice.user_id]


async def test_search_user_directory_leaves_the_deactivated_out(alice: Client, bob: Client) -> None:
    assert (await bob.post("/account/deactivate", {"auth": by_password(bob)})).status == 200
    assert await search(alice, "bob") == []


async def test_search_user_directory_tells_that_there_are_more(rooms: RoomServer, alice: Client) -> None:
    users = [await rooms.register(f"carol{number:02}") for number in range(12)]
    await together(alice, *users)
    response = await alice.post(SEARCH, {"search_term": "carol"})
    assert [found["user_id"] for found in response.json["results"]] == [user.user_id for user in users[:10]]
    assert response.json["limited"] is True
    response = await alice.post(SEARCH, {"search_term": "carol", "limit": 12})
    assert len(response.json["results"]) == 12
    assert response.json["limited"] is False
    response = await alice.post(SEARCH, {"search_term": "carol", "limit": 0})
    assert response.json == {"results": [], "limited": True}


async def test_search_user_directory_looks_at_so_many_matches(
    rooms: RoomServer, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_directory, "MATCHES_MAX", 1)
    for name in ("bo1", "bo2"):
        await rooms.register(name)
    response = await alice.post(SEARCH, {"search_term": "bo"})
    assert response.json == {"results": [], "limited": True}


async def test_search_user_directory_finds_members_of_other_servers(
    rooms: RoomServer, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RemoteMembers(rooms.writes)
    shared, elsewhere = await create(alice, preset="public_chat"), await create(bob, preset="public_chat")
    await remote.set("@carol:two.test", shared, "join", displayname="Caro Lina", avatar_url="mxc://two.test/c")
    await remote.join("@carla:two.test", elsewhere)
    await remote.join("@carmen:two.test", shared)
    await remote.leave("@carmen:two.test", shared)
    carol = {"user_id": "@carol:two.test", "display_name": "Caro Lina", "avatar_url": "mxc://two.test/c"}
    for term in ("car", "lina", "@carol:two.test"):
        assert (await alice.post(SEARCH, {"search_term": term})).json == {"results": [carol], "limited": False}
    assert await search(bob, "caro") == []
    monkeypatch.setattr(user_directory, "MATCHES_MAX", 0)
    assert (await alice.post(SEARCH, {"search_term": "caro"})).json == {"results": [], "limited": True}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"search_term": 7}, (400, "M_BAD_JSON")),
        ({"search_term": "a", "limit": "1"}, (400, "M_BAD_JSON")),
        ({"search_term": "a", "limit": -1}, (400, "M_INVALID_PARAM")),
        ({"search_term": "a" * 257}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_search_user_directory_refused(alice: Client, body: Any, outcome: tuple[int, str]) -> None:
    assert (await alice.post(SEARCH, body)).outcome == outcome


async def test_search_user_directory_missing_token(server: Server) -> None:
    assert (await server.client().post(SEARCH, {"search_term": "a"})).outcome == (401, "M_MISSING_TOKEN")
