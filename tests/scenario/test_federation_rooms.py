"""A room of several servers, told in the order in which things happen."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kvschema.engine import Engine
from tests.rig.asking import ask_member, membership_of, set_levels
from tests.rig.client import Client, path
from tests.rig.network import Network, open_network
from tests.rig.rooms import create, in_room, send, set_state

SETTLED_S = 3600


@pytest.fixture
async def network(make_engine: Callable[[], Engine]) -> AsyncIterator[Network]:
    async with open_network(make_engine, "one.test", "two.test", "three.test") as network:
        yield network


async def join(user: Client, room_id: str, via: str) -> None:
    response = await user.post(f"/join/{room_id}", {}, via=via)
    assert response.status == 200, response.body


async def scroll(user: Client, room_id: str) -> list[str]:
    """All texts of a room, the oldest first."""
    texts: list[str] = []
    token: dict[str, str] = {}
    while True:
        response = await user.get(in_room(room_id, "messages"), dir="b", limit="20", **token)
        assert response.status == 200, response.body
        texts += [event["content"]["body"] for event in response.json["chunk"] if "body" in event["content"]]
        if "end" not in response.json:
            return texts[::-1]
        token = {"from": response.json["end"]}


async def state_of(user: Client, room_id: str) -> dict[tuple[str, str], str]:
    response = await user.get(in_room(room_id, "state"))
    assert response.status == 200, response.body
    return {(event["type"], event["state_key"]): event["event_id"] for event in response.json}


async def meet(network: Network, **room: Any) -> tuple[Client, Client, Client, str]:
    """Alice, Bob and Carol of three servers in a room of Alice's."""
    alice = await network["one.test"].register("alice")
    bob, carol = await network["two.test"].register("bob"), await network["three.test"].register("carol")
    room_id = await create(alice, **{"room_version": "11", **room})
    await join(bob, room_id, "one.test")
    await join(carol, room_id, "one.test")
    await trio.sleep(60)
    return alice, bob, carol, room_id


@pytest.mark.parametrize("version", ["1", "6", "11", "12"])
async def test_everybody_hears_everybody(network: Network, autojump_clock: MockClock, version: str) -> None:
    alice, bob, carol, room_id = await meet(network, room_version=version)
    for user, text in ((alice, "from one"), (bob, "from two"), (carol, "from three")):
        await send(user, room_id, text)
        await trio.sleep(60)
    for user in (alice, bob, carol):
        assert (await scroll(user, room_id))[-3:] == ["from one", "from two", "from three"]
    assert await state_of(alice, room_id) == await state_of(bob, room_id) == await state_of(carol, room_id)


async def test_who_has_synced_still_scrolls_to_the_very_beginning(network: Network, autojump_clock: MockClock) -> None:
    """A state event that was shown as state takes its place in the timeline when that is fetched."""
    alice = await network["one.test"].register("alice")
    bob = await network["two.test"].register("bob")
    room_id = await create(alice, name="a room")
    await join(bob, room_id, "one.test")
    assert (await bob.get("/sync")).status == 200
    messages = in_room(room_id, "messages")
    seen, made = [(await user.get(messages, dir="b", limit="30")).json["chunk"] for user in (bob, alice)]
    assert [event["event_id"] for event in seen] == [event["event_id"] for event in made]
    assert seen[-1]["type"] == "m.room.create"


async def test_servers_that_could_not_speak_agree_afterwards(network: Network, autojump_clock: MockClock) -> None:
    """Both sides change the same things meanwhile."""
    alice, bob, carol, room_id = await meet(network)
    users = {user.user_id: 100 for user in (alice, bob)}
    await set_state(alice, room_id, "m.room.power_levels", {"users": users})
    await trio.sleep(60)
    network.isolate("two.test")
    for number in range(5):
        await send(alice, room_id, f"alice {number}")
        await send(bob, room_id, f"bob {number}")
        await set_state(alice, room_id, "m.room.topic", {"topic": f"alice {number}"})
        await set_state(bob, room_id, "m.room.topic", {"topic": f"bob {number}"})
        await set_state(bob, room_id, "m.room.name", {"name": f"bob {number}"})
    await trio.sleep(600)
    network.heal()
    await trio.sleep(SETTLED_S)
    for user in (alice, bob, carol):
        await send(user, room_id, f"{user.user_id} is back")
        await trio.sleep(SETTLED_S)
    states = [await state_of(user, room_id) for user in (alice, bob, carol)]
    assert states[0] == states[1] == states[2]
    said = {f"{name} {number}" for name in ("alice", "bob") for number in range(5)}
    for user in (alice, bob, carol):
        texts = await scroll(user, room_id)
        assert said <= set(texts)
        assert len(texts) == len(set(texts))


async def test_server_that_was_away_catches_up(network: Network, autojump_clock: MockClock) -> None:
    alice, bob, _carol, room_id = await meet(network)
    await send(bob, room_id, "before")
    await trio.sleep(60)
    await network["two.test"].stop()
    for number in range(150):
        await send(alice, room_id, f"{number}")
    await trio.sleep(600)
    await network["two.test"].start()
    await trio.sleep(SETTLED_S)
    await send(alice, room_id, "after")
    await trio.sleep(SETTLED_S)
    assert await scroll(bob, room_id) == ["before", *map(str, range(150)), "after"]


async def test_who_follows_to_the_new_room_from_another_server_finds_it_as_the_old(
    network: Network, autojump_clock: MockClock
) -> None:
    alice, bob, _carol, room_id = await meet(network, visibility="public")
    rules = path("pushrules", "global", "room")
    await bob.put(bob.user_path("rooms", room_id, "tags", "u.work"), {"order": 0.5})
    await bob.put(bob.user_path("account_data", "m.direct"), {alice.user_id: ["!other:one.test", room_id]})
    await bob.put(rules + path(room_id), {"actions": []})
    await bob.put(path("directory", "list", "room", room_id), {"visibility": "public"})
    replaced = await alice.post(in_room(room_id, "upgrade"), {"new_version": "12"})
    replacement = replaced.json["replacement_room"]
    await trio.sleep(60)
    await join(bob, replacement, "one.test")
    assert (await bob.get(bob.user_path("rooms", replacement, "tags"))).json == {"tags": {"u.work": {"order": 0.5}}}
    assert (await bob.get(rules + path(replacement))).json["actions"] == []
    direct = (await bob.get(bob.user_path("account_data", "m.direct"))).json
    assert direct == {alice.user_id: ["!other:one.test", room_id, replacement]}
    listed = (await bob.get("/publicRooms")).json["chunk"]
    assert [entry["room_id"] for entry in listed] == [replacement]


async def test_nothing_follows_to_a_room_that_only_says_that_it_replaces_another(
    network: Network, autojump_clock: MockClock
) -> None:
    alice, bob, _carol, room_id = await meet(network)
    await bob.put(bob.user_path("rooms", room_id, "tags", "u.work"), {})
    await bob.put(path("directory", "list", "room", room_id), {"visibility": "public"})
    impostor = await create(alice, creation_content={"predecessor": {"room_id": room_id}})
    await join(bob, impostor, "one.test")
    assert (await bob.get(bob.user_path("rooms", impostor, "tags"))).json == {"tags": {}}
    assert [entry["room_id"] for entry in (await bob.get("/publicRooms")).json["chunk"]] == [room_id]


async def test_banned_user_cannot_get_in_by_another_server(network: Network, autojump_clock: MockClock) -> None:
    alice, bob, carol, room_id = await meet(network)
    network.cut("one.test", "two.test")
    network.cut("three.test", "two.test")
    await send(bob, room_id, "not banned yet, as far as I know")
    response = await alice.post(in_room(room_id, "ban"), {"user_id": bob.user_id})
    assert response.status == 200
    await trio.sleep(60)
    network.heal()
    await trio.sleep(SETTLED_S)
    for user in (alice, carol):
        assert "not banned yet, as far as I know" not in await scroll(user, room_id)
        joined = (await user.get(in_room(room_id, "joined_members"))).json["joined"]
        assert bob.user_id not in joined
    response = await bob.put(
        in_room(room_id, "send", "m.room.message", "later"), {"msgtype": "m.text", "body": "still here?"}
    )
    assert response.status == 403


async def test_banned_user_cannot_get_in_by_a_server_that_has_not_heard_of_it(
    network: Network, autojump_clock: MockClock
) -> None:
    alice, bob, carol, room_id = await meet(network)
    network.isolate("three.test")
    await ask_member(alice, room_id, "ban", bob.user_id)
    await trio.sleep(60)
    network.heal()
    network.cut("one.test", "three.test")
    assert await membership_of(carol, room_id, bob.user_id) == "join"
    refused = await bob.post(f"/join/{room_id}", {}, via="three.test")
    assert refused.outcome == (403, "M_FORBIDDEN")
    assert await membership_of(carol, room_id, bob.user_id) == "join"
    assert (await bob.get("/joined_rooms")).json["joined_rooms"] == []
    # What takes the ban back is not known here either: the server that lets him in is believed.
    await ask_member(alice, room_id, "unban", bob.user_id)
    network.heal()
    await trio.sleep(SETTLED_S)
    assert await membership_of(carol, room_id, bob.user_id) == "leave"
    await join(bob, room_id, "three.test")
    await trio.sleep(60)
    for user in (alice, bob, carol):
        assert await membership_of(user, room_id, bob.user_id) == "join"


@pytest.mark.parametrize("seed", range(3))
async def test_rooms_agree_over_a_network_that_is_slow_and_breaks(
    make_engine: Callable[[], Engine], autojump_clock: MockClock, seed: int
) -> None:
    chance = random.Random(seed)
    async with open_network(make_engine, "one.test", "two.test", "three.test", chance=random.Random(seed)) as network:
        alice, bob, carol, room_id = await meet(network)
        people = (alice, bob, carol)
        await set_state(alice, room_id, "m.room.power_levels", {"users": {user.user_id: 100 for user in people}})
        await trio.sleep(600)
        sent = []
        for number in range(40):
            if chance.random() < 0.15:
                network.isolate(chance.choice(("one.test", "two.test", "three.test")))
            if chance.random() < 0.3:
                network.heal()
            user = chance.choice(people)
            if chance.random() < 0.5:
                sent.append(f"message {number}")
                await send(user, room_id, sent[-1])
            else:
                await set_state(user, room_id, f"org.example.{chance.randrange(4)}", {"number": number})
            await trio.sleep(chance.choice((0, 1, 30)))
        network.heal()
        await trio.sleep(SETTLED_S)
        for user in people:
            await send(user, room_id, f"end of {user.user_id}")
            await trio.sleep(SETTLED_S)
        states = [await state_of(user, room_id) for user in people]
        assert states[0] == states[1] == states[2]
        for user in people:
            texts = await scroll(user, room_id)
            assert set(sent) <= set(texts)
            assert len(texts) == len(set(texts))


async def test_a_ban_reaches_a_server_that_cannot_have_what_came_before_it(
    network: Network, autojump_clock: MockClock
) -> None:
    alice, bob, carol, room_id = await meet(network)
    network.cut("two.test", "three.test")
    await send(carol, room_id, "not heard by bob")
    await trio.sleep(60)

    banned = await alice.post(in_room(room_id, "ban"), {"user_id": bob.user_id})
    assert banned.status == 200, banned.body
    await trio.sleep(60)

    assert room_id not in (await bob.get("/joined_rooms")).json["joined_rooms"]
    sync = (await bob.get("/sync")).json
    assert room_id not in sync["rooms"]["join"]
    network.heal()
    refused = await bob.post(f"/join/{room_id}", {}, via="one.test")
    assert refused.outcome == (403, "M_FORBIDDEN")


async def test_a_ban_reaches_a_server_that_has_not_heard_of_what_allows_it(
    network: Network, autojump_clock: MockClock
) -> None:
    alice, bob, carol, room_id = await meet(network)
    await set_levels(alice, room_id, users={alice.user_id: 100, carol.user_id: 100})
    await trio.sleep(60)
    network.isolate("two.test")
    await set_levels(carol, room_id, ban=20)
    await trio.sleep(60)
    response = await alice.post(in_room(room_id, "ban"), {"user_id": bob.user_id})
    assert response.status == 200, response.body
    network.heal()
    network.cut("two.test", "three.test")
    await trio.sleep(SETTLED_S)
    assert room_id not in (await bob.get("/joined_rooms")).json["joined_rooms"]


async def test_a_message_that_cannot_be_judged_removes_nobody(network: Network, autojump_clock: MockClock) -> None:
    """Only what removes our last user is judged by what we know alone."""
    alice, bob, carol, room_id = await meet(network)
    dave = await network["two.test"].register("dave")
    await join(dave, room_id, "one.test")
    network.cut("two.test", "three.test")
    await send(carol, room_id, "comes later")
    await trio.sleep(60)
    await alice.post(in_room(room_id, "kick"), {"user_id": bob.user_id})
    await trio.sleep(60)
    assert "comes later" in await scroll(dave, room_id)
    assert room_id not in (await bob.get("/joined_rooms")).json["joined_rooms"]
    assert room_id in (await dave.get("/joined_rooms")).json["joined_rooms"]
