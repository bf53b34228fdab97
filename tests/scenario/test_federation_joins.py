"""Users of one server come into rooms of another, and go again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kvschema.engine import Engine
from tests.rig.client import Client, path
from tests.rig.network import Network, open_network
from tests.rig.rooms import bodies, create, in_room, send, set_state

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
        chunk = (await bob.get(in_room(room_id, "messages"), dir="b")).json["chunk"]
        assert bodies(chunk) == ["I am", "is anybody there?"]


async def test_join_of_a_room_that_somebody_unknown_was_banned_from(
    make_engine: MakeEngine, autojump_clock: MockClock
) -> None:
    """What is stored then is checked at the end, as in every story."""
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
        room_id = await create(alice)
        assert (await alice.post(in_room(room_id, "ban"), {"user_id": "@mallory:three.test"})).status == 200
        assert (await bob.post(f"/join/{room_id}", {}, via="one.test")).status == 200
        member = await bob.get(in_room(room_id, "state", "m.room.member", "@mallory:three.test"))
        assert member.json["membership"] == "ban"


async def test_join_by_alias(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        room_id = await create(alice, room_alias_name="tea")
        await join(bob, "#tea:one.test")
        assert await membership(alice, room_id, bob.user_id) == "join"


async def test_second_user_of_a_server_joins_without_asking_others(
    make_engine: MakeEngine, autojump_clock: MockClock
) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        carol = await network["two.test"].register("carol")
        room_id = await create(alice)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(join, bob, room_id, "one.test")
            nursery.start_soon(join, carol, room_id, "one.test")
        handshakes = [path for _, _, _, path in network.requests if "/make_join/" in path]
        assert len(handshakes) == 1
        await trio.sleep(5)
        for user in (bob, carol):
            assert await membership(alice, room_id, user.user_id) == "join"
            assert await membership(user, room_id, alice.user_id) == "join"


async def test_join_goes_on_when_the_client_hangs_up(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test", chance=random.Random(7)) as network:
        alice, bob = await two_people(network)
        room_id = await create(alice)
        with trio.move_on_after(0.1) as hung_up:
            await join(bob, room_id, "one.test")
        assert hung_up.cancelled_caught
        assert await membership(bob, room_id, bob.user_id) is None
        await trio.sleep(60)
        assert await membership(bob, room_id, bob.user_id) == "join"


async def test_join_falls_back_to_a_server_that_is_there(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test", "three.test") as network:
        alice, bob = await two_people(network)
        carol = await network["three.test"].register("carol")
        room_id = await create(alice)
        await join(bob, room_id, "one.test")
        await join(carol, await create(alice), "one.test")  # Now three.test knows the keys of one.test.
        network.cut("one.test", "three.test")
        refused = await carol.post(path("join", room_id) + "?via=one.test", {})
        assert refused.outcome == (502, "M_UNKNOWN")
        await join(carol, room_id, "one.test", "nowhere.test", "two.test")
        assert await membership(bob, room_id, carol.user_id) == "join"
        assert await membership(carol, room_id, alice.user_id) == "join"


async def test_join_refused_tells_why(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        private = await create(alice, preset="private_chat")
        before = network["two.test"].dump()
        for room_id, outcome in (
            (private, (403, "M_FORBIDDEN")),
            ("!nowhere:one.test", (404, "M_NOT_FOUND")),
            ("!nowhere:two.test", (404, "M_NOT_FOUND")),
        ):
            response = await bob.post(path("join", room_id) + "?via=one.test", {})
            assert response.outcome == outcome
        for tree in ("roomid_shortroomid", "shorteventid_pdu", "userroomid_membership"):
            assert network["two.test"].dump()[tree] == before[tree]


async def _restrict(user: Client, version: str, allowed: str) -> str:
    allow = [{"type": "m.room_membership", "room_id": allowed}]
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    return await create(user, room_version=version, initial_state=[rules])


@pytest.mark.parametrize("version", ["8", "10", "12"])
async def test_restricted_join(make_engine: MakeEngine, autojump_clock: MockClock, version: str) -> None:
    """Alice's server vouches for Bob; then Bob's server is in the room, and nobody on it may let Carol in."""
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        carol = await network["two.test"].register("carol")
        lobby = await create(alice)
        room_id = await _restrict(alice, version, lobby)
        levels = {"users": {alice.user_id: 100}, "invite": 50} if version != "12" else {"invite": 50}
        await set_state(alice, room_id, "m.room.power_levels", levels)
        refused = await bob.post(path("join", room_id) + "?via=one.test", {})
        assert refused.outcome == (403, "M_FORBIDDEN")
        await join(bob, lobby, "one.test")
        await join(bob, room_id, "one.test")
        event = (await bob.get(in_room(room_id, "state", "m.room.member", bob.user_id))).json
        assert event["join_authorised_via_users_server"] == alice.user_id
        await join(carol, lobby)
        await trio.sleep(5)
        await join(carol, room_id)
        event = (await carol.get(in_room(room_id, "state", "m.room.member", carol.user_id))).json
        assert event["join_authorised_via_users_server"] == alice.user_id
        await trio.sleep(5)
        assert await membership(alice, room_id, carol.user_id) == "join"


async def glimpse(user: Client, kind: str) -> dict[str, Any]:
    """Rooms in ``invite``, ``knock`` or ``leave`` of a sync, by id."""
    everything = '{"room":{"include_leave":true}}'
    rooms: dict[str, Any] = (await user.get("/sync", filter=everything)).json.get("rooms", {})
    found: dict[str, Any] = rooms.get(kind, {})
    return found


@pytest.mark.parametrize("version", VERSIONS)
async def test_invite_is_accepted(make_engine: MakeEngine, autojump_clock: MockClock, version: str) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        room_id = await create(alice, room_version=version, preset="private_chat", name="Tea", invite=[bob.user_id])
        assert await membership(alice, room_id, bob.user_id) == "invite"
        events = (await glimpse(bob, "invite"))[room_id]["invite_state"]["events"]
        assert {"m.room.create", "m.room.name", "m.room.member"} <= {event["type"] for event in events}
        await join(bob, room_id)
        assert await glimpse(bob, "invite") == {}
        assert await membership(alice, room_id, bob.user_id) == "join"
        assert await membership(bob, room_id, alice.user_id) == "join"


async def test_invite_into_a_room_of_three_servers_reaches_them_all(
    make_engine: MakeEngine, autojump_clock: MockClock
) -> None:
    async with open_network(make_engine, "one.test", "two.test", "three.test") as network:
        alice, bob = await two_people(network)
        carol = await network["three.test"].register("carol")
        room_id = await create(alice)
        await join(bob, room_id, "one.test")
        response = await alice.post(in_room(room_id, "invite"), {"user_id": carol.user_id, "reason": "tea"})
        assert response.status == 200
        await trio.sleep(5)
        assert await membership(bob, room_id, carol.user_id) == "invite"
        await join(carol, room_id)
        await trio.sleep(5)
        for user in (alice, bob, carol):
            assert await membership(user, room_id, carol.user_id) == "join"
        await send(carol, room_id, "hello")
        await trio.sleep(5)
        for user in (alice, bob):
            assert "hello" in bodies((await user.get(in_room(room_id, "messages"), dir="b")).json["chunk"])


async def test_invite_is_refused_by_who_takes_none(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        where = bob.user_path("account_data", "m.invite_permission_config")
        await bob.put(where, {"default_action": "block"})
        room_id = await create(alice)
        before = network["one.test"].dump()["shorteventid_pdu"]
        for user_id, outcome in (
            (bob.user_id, (403, "M_INVITE_BLOCKED")),
            ("@nobody:two.test", (403, "M_FORBIDDEN")),
            ("@bob:nowhere.test", (502, "M_UNKNOWN")),
        ):
            response = await alice.post(in_room(room_id, "invite"), {"user_id": user_id})
            assert response.outcome == outcome
        content = {"membership": "invite"}
        response = await alice.put(in_room(room_id, "state", "m.room.member", bob.user_id), content)
        assert response.outcome == (403, "M_INVITE_BLOCKED")
        assert network["one.test"].dump()["shorteventid_pdu"] == before


async def test_invite_into_a_room_that_is_not_federated_is_refused(
    make_engine: MakeEngine, autojump_clock: MockClock
) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        room_id = await create(alice, creation_content={"m.federate": False}, invite=[bob.user_id])
        response = await alice.post(in_room(room_id, "invite"), {"user_id": bob.user_id})
        assert response.outcome == (403, "M_FORBIDDEN")
        assert await glimpse(bob, "invite") == {}


async def test_invite_by_state_event(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        room_id = await create(alice)
        await set_state(alice, room_id, "m.room.member", {"membership": "invite"}, bob.user_id)
        assert list(await glimpse(bob, "invite")) == [room_id]


async def test_invite_is_rejected(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        room_id = await create(alice, invite=[bob.user_id])
        since = (await bob.get("/sync")).json["next_batch"]
        assert (await bob.post(in_room(room_id, "leave"), {"reason": "no tea"})).status == 200
        assert await membership(alice, room_id, bob.user_id) == "leave"
        assert await glimpse(bob, "invite") == {}
        changed = (await bob.get("/sync", since=since)).json["rooms"]
        assert list(changed["leave"]) == [room_id]
        assert (await bob.post(in_room(room_id, "leave"), {})).status == 200
        assert (await bob.post(in_room(room_id, "forget"), {})).status == 200
        assert await glimpse(bob, "leave") == {}


async def test_invite_is_rejected_while_its_server_is_down(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        room_id = await create(alice, invite=[bob.user_id])
        network.cut("one.test", "two.test")
        assert (await bob.post(in_room(room_id, "leave"), {})).status == 200
        assert await glimpse(bob, "invite") == {}
        network.heal()
        assert await membership(alice, room_id, bob.user_id) == "invite"
        await join(bob, room_id, "one.test")
        assert await membership(alice, room_id, bob.user_id) == "join"


@pytest.mark.parametrize("how", ["kick", "ban"])
async def test_invite_is_taken_back(make_engine: MakeEngine, autojump_clock: MockClock, how: str) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        room_id = await create(alice, invite=[bob.user_id])
        since = (await bob.get("/sync")).json["next_batch"]
        assert (await alice.post(in_room(room_id, how), {"user_id": bob.user_id})).status == 200
        await trio.sleep(5)
        assert await glimpse(bob, "invite") == {}
        assert list((await bob.get("/sync", since=since)).json["rooms"]["leave"]) == [room_id]


@pytest.mark.parametrize("version", ["7", "10", "12"])
async def test_knock_is_answered(make_engine: MakeEngine, autojump_clock: MockClock, version: str) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
        room_id = await create(alice, room_version=version, name="Tea", initial_state=[rules])
        response = await bob.post(path("knock", room_id) + "?via=one.test", {"reason": "please"})
        assert response.json == {"room_id": room_id}
        events = (await glimpse(bob, "knock"))[room_id]["knock_state"]["events"]
        assert ("m.room.name", {"name": "Tea"}) in [(event["type"], event["content"]) for event in events]
        assert await membership(alice, room_id, bob.user_id) == "knock"

        assert (await alice.post(in_room(room_id, "invite"), {"user_id": bob.user_id})).status == 200
        assert await glimpse(bob, "knock") == {}
        assert list(await glimpse(bob, "invite")) == [room_id]
        await join(bob, room_id)
        assert await membership(bob, room_id, bob.user_id) == "join"


async def test_knock_is_turned_down_and_taken_back(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
        room_id = await create(alice, initial_state=[rules])
        where = path("knock", room_id) + "?via=one.test"
        assert (await bob.post(where, {})).status == 200
        assert (await alice.post(in_room(room_id, "kick"), {"user_id": bob.user_id})).status == 200
        await trio.sleep(5)
        assert await glimpse(bob, "knock") == {}
        assert (await bob.post(where, {})).status == 200
        assert list(await glimpse(bob, "knock")) == [room_id]
        assert (await bob.post(in_room(room_id, "leave"), {})).status == 200
        assert await glimpse(bob, "knock") == {}
        assert await membership(alice, room_id, bob.user_id) == "leave"
        closed = await create(alice)
        assert (await bob.post(path("knock", closed) + "?via=one.test", {})).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("how", ["kick", "ban"])
async def test_removal_reaches_the_server_of_who_is_removed(
    make_engine: MakeEngine, autojump_clock: MockClock, how: str
) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        room_id = await create(alice)
        await join(bob, room_id, "one.test")
        assert (await alice.post(in_room(room_id, how), {"user_id": bob.user_id})).status == 200
        await trio.sleep(5)
        assert list(await glimpse(bob, "leave")) == [room_id]
        refused = await bob.put(in_room(room_id, "send", "m.room.message", "1"), {"msgtype": "m.text", "body": "hm"})
        assert refused.outcome == (403, "M_FORBIDDEN")


async def test_leave_reaches_the_others(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        room_id = await create(alice)
        await join(bob, room_id, "one.test")
        assert (await bob.post(in_room(room_id, "leave"), {})).status == 200
        await trio.sleep(5)
        assert await membership(alice, room_id, bob.user_id) == "leave"


@pytest.mark.parametrize("version", ["1", "6", "11", "12"])
async def test_rejoin_of_a_room_that_went_on_without_us(
    make_engine: MakeEngine, autojump_clock: MockClock, version: str
) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        carol = await network["one.test"].register("carol")
        room_id = await create(alice, room_version=version, name="Tea")
        await join(bob, room_id, "one.test")
        await send(bob, room_id, "first")
        await trio.sleep(5)
        assert (await bob.post(in_room(room_id, "leave"), {})).status == 200
        await trio.sleep(5)
        await set_state(alice, room_id, "m.room.name", {"name": "Cake"})
        await send(alice, room_id, "meanwhile")
        await join(carol, room_id)
        assert (await bob.get(in_room(room_id, "state", "m.room.name", ""))).json["name"] == "Tea"

        await join(bob, room_id)
        assert (await bob.get(in_room(room_id, "state", "m.room.name", ""))).json["name"] == "Cake"
        assert await membership(bob, room_id, carol.user_id) == "join"
        assert await membership(alice, room_id, bob.user_id) == "join"
        await send(alice, room_id, "welcome back")
        await trio.sleep(5)
        chunk = (await bob.get(in_room(room_id, "messages"), dir="b", limit="50")).json["chunk"]
        assert bodies(chunk)[0] == "welcome back"
        assert bodies(chunk)[-1] == "first"
        state = (await bob.get("/sync")).json["rooms"]["join"][room_id]
        assert state["summary"]["m.joined_member_count"] == 3


async def test_restart_in_between_loses_nothing(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        invited = await create(alice, invite=[bob.user_id])
        joined = await create(alice)
        await join(bob, joined, "one.test")
        await network["two.test"].restart()
        assert list(await glimpse(bob, "invite")) == [invited]
        await join(bob, invited)
        await send(bob, joined, "still here")
        await trio.sleep(5)
        assert "still here" in bodies((await alice.get(in_room(joined, "messages"), dir="b")).json["chunk"])


@pytest.mark.parametrize("seed", range(6))
async def test_greeting_comes_in_before_the_join_is_done(
    make_engine: MakeEngine, autojump_clock: MockClock, seed: int
) -> None:
    """Alice's client greets as soon as it sees Bob; the answer to Bob's join may take longer than the greeting."""
    async with open_network(make_engine, "one.test", "two.test", chance=random.Random(seed)) as network:
        alice, bob = await two_people(network)
        room_id = await create(alice)

        async def greet() -> None:
            while await membership(alice, room_id, bob.user_id) != "join":  # noqa: ASYNC110
                await trio.sleep(0.01)
            await send(alice, room_id, "welcome")
            await send(alice, room_id, "to tea")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(greet)
            await join(bob, room_id, "one.test")
        await trio.sleep(60)
        timeline = (await bob.get("/sync")).json["rooms"]["join"][room_id]["timeline"]["events"]
        assert bodies(timeline) == ["welcome", "to tea"]


async def test_invite_to_a_room_that_we_left(make_engine: MakeEngine, autojump_clock: MockClock) -> None:
    """What we hold of it is old: the invite comes from outside, is taken back, comes again and is accepted."""
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        room_id = await create(alice, preset="private_chat", invite=[bob.user_id])
        await join(bob, room_id)
        assert (await bob.post(in_room(room_id, "leave"), {})).status == 200
        await trio.sleep(5)
        for _ in range(2):
            assert (await alice.post(in_room(room_id, "invite"), {"user_id": bob.user_id})).status == 200
            assert list(await glimpse(bob, "invite")) == [room_id]
            assert (await alice.post(in_room(room_id, "kick"), {"user_id": bob.user_id})).status == 200
            await trio.sleep(5)
            assert await glimpse(bob, "invite") == {}
        assert (await bob.post(path("join", room_id), {})).outcome == (403, "M_FORBIDDEN")
        assert (await alice.post(in_room(room_id, "invite"), {"user_id": bob.user_id})).status == 200
        await join(bob, room_id)
        assert await membership(alice, room_id, bob.user_id) == "join"
        assert await membership(bob, room_id, bob.user_id) == "join"


async def test_rejoin_when_others_here_are_still_said_to_be_in_the_room(
    make_engine: MakeEngine, autojump_clock: MockClock
) -> None:
    """Two users of two.test leave while nobody hears of it; by the time one comes back, the room has changed."""
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await two_people(network)
        carol = await network["two.test"].register("carol")
        room_id = await create(alice)
        await join(bob, room_id, "one.test")
        await join(carol, room_id)
        await trio.sleep(5)
        network.cut("one.test", "two.test")
        for user in (carol, bob):
            assert (await user.post(in_room(room_id, "leave"), {})).status == 200
        await set_state(alice, room_id, "m.room.topic", {"topic": "tea"})
        network.heal()
        await join(bob, room_id, "one.test")
        await trio.sleep(7200)
        for user in (alice, bob):
            assert await membership(user, room_id, bob.user_id) == "join"
            assert await membership(user, room_id, carol.user_id) == "leave"
            assert (await user.get(in_room(room_id, "state", "m.room.topic", ""))).json == {"topic": "tea"}
