"""Users of one server come into rooms of another, and go again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from trio.testing import MockClock

from kvschema.engine import Engine
from tests.rig.client import Client, path
from tests.rig.network import Network, open_network
from tests.rig.rooms import bodies, create, in_room, send

VERSIONS = ("1", "3", "6", "8", "10", "11", "12")

MakeEngine = Callable[[], Engine]


async def join(user: Client, room: str, *via: str) -> None:
    query = "?" + "&".join(f"via={name}" for name in via) if via else ""
    response = await user.post(path("join", room) + query, {})
    assert response.status == 200, response.body


async def membership(asker: Client, room_id: str, user_id: str) -> str | None:
    response = await asker.get(in_room(room_id, "state", "m.room.member", user_id))
    return response.json.get("membership") if response.status == 200 else None


async def two_people(network: Network) -> tuple[Client, Client]:
    return await network["one.test"].register("alice"), await network["two.test"].register("bob")


@pytest.mark.parametrize("version", VERSIONS)
async def test_join_by_id(make_engine: MakeEngine, autojump_clock: MockClock, version: str) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        await bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob"})
        room_id = await create(alice, room_version=version, name="Tea")
        await send(alice, room_id, "is anybody there?")
        await join(bob, room_id, "one.test")

        assert await membership(alice, room_id, bob.user_id) == "join"
        assert await membership(bob, room_id, bob.user_id) == "join"
        name = await bob.get(in_room(room_id, "state", "m.room.name", ""))
        assert name.json["name"] == "Tea"
        members = (await bob.get(in_room(room_id, "joined_members"))).json["joined"]
        assert members.keys() == {alice.user_id, bob.user_id}
        assert members[bob.user_id]["display_name"] == "Bob"
        room = (await bob.get("/sync")).json["rooms"]["join"][room_id]
        assert [event["state_key"] for event in room["timeline"]["events"]] == [bob.user_id]
        state = {(event["type"], event["state_key"]) for event in room["state"]["events"]}
        assert ("m.room.create", "") in state
        assert ("m.room.member", alice.user_id) in state
        await send(bob, room_id, "I am")
        assert bodies((await bob.get(in_room(room_id, "messages"), dir="b")).json["chunk"]) == ["I am"]
