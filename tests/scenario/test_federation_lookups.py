"""People of one server look for rooms and people of another, without being in any room together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kvschema.engine import Engine
from tests.rig.client import Client, Response, path
from tests.rig.network import Network, open_network
from tests.rig.rooms import create, set_state


@pytest.fixture
async def network(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> AsyncIterator[Network]:
    async with open_network(make_engine, "one.test", "two.test", "three.test") as network:
        yield network


def asked(network: Network, of: str) -> int:
    """How often one.test asked for something of this kind."""
    return sum(1 for origin, _, _, path in network.requests if origin == "one.test" and f"/{of}" in path)


async def hierarchy(user: Client, room_id: str, **query: str) -> Response:
    return await user.get("/_matrix/client/v1/rooms" + path(room_id, "hierarchy"), **query)


async def names(user: Client, room_id: str, **query: str) -> list[str]:
    response = await hierarchy(user, room_id, **query)
    assert response.status == 200, response.body
    return [room["name"] for room in response.json["rooms"]]


async def make(creator: Client, name: str, **body: Any) -> str:
    return await create(creator, name=name, room_version="11", **body)


async def make_space(creator: Client, name: str, *children: str, via: str) -> str:
    room_id = await make(creator, name, creation_content={"type": "m.space"})
    for number, child in enumerate(children):
        content = {"via": ["nowhere.test", via], "order": str(number)}
        await set_state(creator, room_id, "m.space.child", content, child)
    return room_id


async def test_a_room_is_found_by_its_alias_in_the_directory_and_by_its_summary(network: Network) -> None:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    body = {"name": "chess", "preset": "public_chat", "visibility": "public", "room_alias_name": "chess"}
    room_id = (await bob.post("/createRoom", body)).json["room_id"]

    found = await alice.get(path("directory", "room", "#chess:two.test"))
    assert found.json == {"room_id": room_id, "servers": ["two.test"]}
    listed = (await alice.post("/publicRooms", {}, server="two.test")).json["chunk"]
    assert [(room["room_id"], room["name"], room["canonical_alias"]) for room in listed] == [
        (room_id, "chess", "#chess:two.test")
    ]
    for asker in (alice, network["one.test"].client()):
        summary = await asker.get("/_matrix/client/v1/room_summary" + path("#chess:two.test"))
        assert (summary.json["room_id"], summary.json["num_joined_members"]) == (room_id, 1)
        assert summary.json.get("membership") == ("leave" if asker is alice else None)


async def test_a_private_room_is_not_told_of(network: Network) -> None:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    private = await make(bob, "secret", preset="private_chat")
    for room_id in (private, "!unknown:two.test", "!unknown:nowhere.test"):
        response = await alice.get("/_matrix/client/v1/room_summary" + path(room_id))
        assert response.outcome == (404, "M_NOT_FOUND")
        assert (await hierarchy(alice, room_id)).outcome == (403, "M_FORBIDDEN")


async def test_a_summary_is_asked_of_the_servers_that_are_named(network: Network, autojump_clock: MockClock) -> None:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    # The id of a room of version 12 names no server.
    room_id = await create(bob, name="new", room_version="12")
    where = "/_matrix/client/v1/room_summary" + path(room_id)
    assert (await alice.get(where)).outcome == (404, "M_NOT_FOUND")
    await trio.sleep(61)
    assert (await alice.get(where, via="two.test")).json["name"] == "new"


async def test_a_profile_is_that_of_the_users_own_server(network: Network) -> None:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    await bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob"})
    await bob.put(path("profile", bob.user_id, "m.tz"), {"m.tz": "Europe/Paris"})
    assert (await alice.get(path("profile", bob.user_id))).json == {"displayname": "Bob", "m.tz": "Europe/Paris"}
    assert (await alice.get(path("profile", bob.user_id, "m.tz"))).json == {"m.tz": "Europe/Paris"}
    assert (await alice.get(path("profile", "@nobody:two.test"))).outcome == (404, "M_NOT_FOUND")
    network.isolate("two.test")
    assert (await alice.get(path("profile", "@carol:two.test"))).outcome == (502, "M_UNKNOWN")
    # What is known still is shown.
    assert (await alice.get(path("profile", bob.user_id))).status == 200


async def test_a_space_reaches_over_several_servers(network: Network) -> None:
    one, two, three = [
        await network[name].register(user)
        for name, user in (("one.test", "alice"), ("two.test", "bob"), ("three.test", "carol"))
    ]
    leaf = await make(three, "leaf")
    hidden = await make(three, "hidden", preset="private_chat")
    inner = await make_space(three, "inner", leaf, hidden, via="three.test")
    room, own = await make(two, "room"), await make(one, "own")
    middle = await make_space(two, "middle", inner, room, own, hidden, "!gone:nowhere.test", via="three.test")
    root = await make_space(one, "root", middle, via="two.test")

    assert await names(one, root) == ["root", "middle", "inner", "leaf", "room", "own"]
    # middle is told by two.test, the rest below it that it does not know by three.test.
    before = asked(network, "hierarchy")
    assert await names(one, root, limit="2") == ["root", "middle"]
    page = (await hierarchy(one, root, limit="2")).json
    assert await names(one, root, **{"limit": "2", "from": page["next_batch"]}) == ["inner", "leaf"]
    assert await names(one, root, max_depth="1") == ["root", "middle"]
    assert asked(network, "hierarchy") == before, "what was told is kept"

    children = (await hierarchy(one, root)).json["rooms"][1]["children_state"]
    assert [child["state_key"] for child in children] == [inner, room, own, hidden, "!gone:nowhere.test"]
    # Somebody else's space can be the root as well.
    assert await names(one, middle) == ["middle", "inner", "leaf", "room", "own"]


async def test_a_space_is_shown_without_servers_that_do_not_answer(network: Network, autojump_clock: MockClock) -> None:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    room = await make(bob, "room")
    root = await make_space(alice, "root", room, via="two.test")
    network.isolate("two.test")
    assert await names(alice, root) == ["root"]
    network.heal()
    await trio.sleep(120)
    assert await names(alice, root) == ["root", "room"]


async def test_a_server_that_does_not_federate_asks_nobody(
    make_engine: Callable[[], Engine], autojump_clock: MockClock
) -> None:
    async with open_network(make_engine, "one.test", "two.test", ALLOW_FEDERATION="false") as network:
        alice = await network["one.test"].register("alice")
        root = await make_space(alice, "root", "!r:two.test", via="two.test")
        assert await names(alice, root) == ["root"]
        assert (await alice.get(path("directory", "room", "#a:two.test"))).outcome == (404, "M_NOT_FOUND")
        assert (await alice.get(path("profile", "@b:two.test"))).outcome == (403, "M_FORBIDDEN")
        assert (await alice.get("/publicRooms", server="two.test")).outcome == (403, "M_FORBIDDEN")
        summary = await alice.get("/_matrix/client/v1/room_summary" + path("!r:two.test"))
        assert summary.outcome == (404, "M_NOT_FOUND")
        assert network.requests == []
