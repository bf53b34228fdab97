"""Rooms that an administrator removes or disables, as everybody sees it: told in the order in which it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from conduit_py.matrix.ids import RoomId
from conduit_py.service.rooms.removal import GRACE_S, TOLD_S
from kvschema.catalog.rooms import REMOVEDROOMIDS
from kvschema.engine import Engine
from tests.rig.admin import Console
from tests.rig.client import Client
from tests.rig.network import Network, Node, open_network
from tests.rig.rooms import create, in_room, join, leave, send

Json = dict[str, Any]


@pytest.fixture
async def network(make_engine: Callable[[], Engine]) -> AsyncIterator[Network]:
    async with open_network(make_engine, "one.test", "two.test") as network:
        yield network


async def sync(user: Client, since: str | None = None) -> Json:
    response = await user.get("/sync", timeout="0", **({} if since is None else {"since": since}))
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def join_from_afar(user: Client, room_id: str) -> None:
    response = await user.post(f"/join/{room_id}", {}, via="one.test")
    assert response.status == 200, response.body


async def membership_of(user: Client, room_id: str, user_id: str) -> str:
    response = await user.get(in_room(room_id, "state", "m.room.member", user_id))
    assert response.status == 200, response.body
    return str(response.json["membership"])


def is_removing(node: Node) -> bool:
    return bool(node.dump()[REMOVEDROOMIDS.name])


async def remove(node: Node, room_id: str) -> None:
    await node.built.rooms.removal.begin(RoomId(room_id))
    await node.built.rooms.removal.wait_until_removed(RoomId(room_id))
    assert not is_removing(node)


async def test_room_is_removed_while_everybody_is_in_it(network: Network, autojump_clock: MockClock) -> None:
    one, two = network["one.test"], network["two.test"]
    alice, carol, bob = await one.register("alice"), await one.register("carol"), await two.register("bob")
    room_id, other = await create(alice, room_version="11", name="Doomed"), await create(alice, name="Kept")
    await join(carol, room_id)
    await join_from_afar(bob, room_id)
    event_id = await send(alice, room_id, "soon gone")
    await trio.sleep(10)
    before = {user: (await sync(user))["next_batch"] for user in (alice, carol)}
    page = (await alice.get(in_room(room_id, "messages"), dir="b", limit="1")).json["end"]

    told: list[Json] = []

    async def poll() -> None:
        """Carol may have left before her."""
        since = before[alice]
        while not told or not told[-1]["rooms"]["leave"]:
            told.append((await alice.get("/sync", timeout="30000", since=since)).json)
            since = told[-1]["next_batch"]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.sleep(1)
        await remove(one, room_id)

    # Whoever was there hears at once that she has left, whoever comes back hears it then.
    [event] = told[-1]["rooms"]["leave"][room_id]["timeline"]["events"]
    assert (event["state_key"], event["content"]["membership"]) == (alice.user_id, "leave")
    heard = await sync(carol, before[carol])
    [event] = heard["rooms"]["leave"][room_id]["timeline"]["events"]
    assert (event["type"], event["state_key"], event["content"]["membership"]) == (
        "m.room.member",
        carol.user_id,
        "leave",
    )
    assert room_id not in (await sync(carol, heard["next_batch"]))["rooms"]["leave"]
    assert room_id not in (await sync(alice, told[-1]["next_batch"]))["rooms"]["leave"]
    assert list((await sync(alice))["rooms"]["join"]) == [other]

    # Nothing leads anywhere any more, and nothing breaks.
    for path, query in (
        (in_room(room_id, "messages"), {"dir": "b", "from": page}),
        (in_room(room_id, "state"), {}),
        (in_room(room_id, "members"), {}),
    ):
        assert (await alice.get(path, **query)).outcome == (403, "M_FORBIDDEN")
    for operation in ("event", "context"):
        assert (await alice.get(in_room(room_id, operation, event_id))).outcome == (404, "M_NOT_FOUND")
    relations = f"/_matrix/client/v1/rooms/{room_id}/relations/{event_id}"
    assert (await alice.get(relations)).outcome == (404, "M_NOT_FOUND")
    search = {"search_categories": {"room_events": {"search_term": "soon"}}}
    assert (await alice.post("/search", search)).json["search_categories"]["room_events"]["results"] == []

    # The other server was told that everybody left, and its users go on.
    for user in (alice, carol):
        assert await membership_of(bob, room_id, user.user_id) == "leave"
    await send(bob, room_id, "anybody here?")
    await trio.sleep(60)
    await send(alice, other, "yes, elsewhere")


async def test_room_that_was_removed_is_joined_anew(network: Network, autojump_clock: MockClock) -> None:
    one, two = network["one.test"], network["two.test"]
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await create(alice, room_version="11")
    await join_from_afar(bob, room_id)
    await trio.sleep(10)
    before = (await sync(alice))["next_batch"]
    await remove(one, room_id)
    await send(bob, room_id, "come back")
    response = await alice.post(f"/join/{room_id}", {}, via="two.test")
    assert response.status == 200, response.body
    await send(alice, room_id, "here I am")
    await trio.sleep(60)
    for user in (alice, bob):
        chunk = (await user.get(in_room(room_id, "messages"), dir="b", limit="3")).json["chunk"]
        assert chunk[0]["content"] == {"msgtype": "m.text", "body": "here I am"}
    heard = (await sync(alice, before))["rooms"]
    assert (list(heard["join"]), list(heard["leave"])) == ([room_id], [])


async def test_removal_goes_on_after_a_restart(network: Network, autojump_clock: MockClock) -> None:
    """Also where another server does not listen: what it would be told is waited for, and no longer than is said."""
    one, two = network["one.test"], network["two.test"]
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await create(alice, room_version="11")
    await join_from_afar(bob, room_id)
    await trio.sleep(10)
    started = trio.current_time()
    await one.built.rooms.removal.begin(RoomId(room_id))
    await trio.sleep(0.5)
    for _ in range(3):
        await one.restart()
        await trio.sleep(GRACE_S / 3)
    await one.built.rooms.removal.wait_until_removed(RoomId(room_id))
    assert trio.current_time() - started < 3 * GRACE_S
    await trio.sleep(60)
    assert await membership_of(bob, room_id, alice.user_id) == "leave"
    assert (await sync(alice))["rooms"]["join"] == {}


async def test_server_that_does_not_listen_holds_up_no_removal(network: Network, autojump_clock: MockClock) -> None:
    one, two = network["one.test"], network["two.test"]
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await create(alice, room_version="11")
    await join_from_afar(bob, room_id)
    await trio.sleep(10)
    network.cut("one.test", "two.test")
    started = trio.current_time()
    await remove(one, room_id)
    assert trio.current_time() - started < TOLD_S
    network.heal()
    await send(alice, await create(alice), "the server goes on")


async def test_many_rooms_are_removed_in_the_time_of_one(network: Network, autojump_clock: MockClock) -> None:
    one = network["one.test"]
    alice = await one.register("alice")
    rooms = [RoomId(await create(alice)) for _ in range(10)]
    kept = await create(alice)
    started = trio.current_time()
    for room_id in rooms:
        await one.built.rooms.removal.begin(room_id)
    for room_id in rooms:
        await one.built.rooms.removal.wait_until_removed(room_id)
    assert trio.current_time() - started < 2 * GRACE_S
    assert list((await sync(alice))["rooms"]["join"]) == [kept]


async def test_invited_users_are_rid_of_the_invite(network: Network, autojump_clock: MockClock) -> None:
    one, two = network["one.test"], network["two.test"]
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await create(bob, room_version="11")
    response = await bob.post(in_room(room_id, "invite"), {"user_id": alice.user_id})
    assert response.status == 200, response.body
    before = await sync(alice)
    assert list(before["rooms"]["invite"]) == [room_id]
    await remove(one, room_id)
    heard = await sync(alice, before["next_batch"])
    assert list(heard["rooms"]["leave"]) == [room_id]
    assert (await sync(alice))["rooms"]["invite"] == {}
    assert await membership_of(bob, room_id, alice.user_id) == "leave"


async def test_nobody_gets_into_a_room_that_is_being_removed(network: Network, autojump_clock: MockClock) -> None:
    one = network["one.test"]
    alice, carol = await one.register("alice"), await one.register("carol")
    room_id = await create(alice, room_alias_name="doomed")
    await one.built.rooms.removal.begin(RoomId(room_id))
    refused = await carol.post(in_room(room_id, "join"), {})
    assert refused.outcome == (403, "M_FORBIDDEN")
    assert "being removed" in refused.json["error"]
    await trio.sleep(10)
    assert (await carol.get("/directory/room/%23doomed:one.test")).outcome == (404, "M_NOT_FOUND")
    await trio.sleep(GRACE_S + 10)
    assert not is_removing(one)
    assert await create(alice, room_alias_name="doomed") != room_id


async def test_disabled_room_is_shut_and_opens_again(network: Network, autojump_clock: MockClock) -> None:
    one, two = network["one.test"], network["two.test"]
    alice, carol, bob = await one.register("alice"), await one.register("carol"), await two.register("bob")
    room_id = await create(alice, room_version="11", visibility="world_readable")
    await join(carol, room_id)
    await join_from_afar(bob, room_id)
    await send(alice, room_id, "before")
    await trio.sleep(10)

    assert await one.built.rooms.closed.disable(RoomId(room_id))
    assert not await one.built.rooms.closed.disable(RoomId(room_id))
    requests = len(network.requests)
    async with one.leaves_no_trace(but={"servertxnid_response", "eventid_shorteventid"}):
        refused = await alice.put(in_room(room_id, "send", "m.room.message", "1"), {"msgtype": "m.text", "body": "no"})
        assert refused.outcome == (403, "M_FORBIDDEN")
        assert "disabled this room" in refused.json["error"]
        dave = await two.register("dave")
        assert (await dave.post(f"/join/{room_id}", {}, via="one.test")).status == 200
        await send(bob, room_id, "not heard")
        await alice.put(in_room(room_id, "typing", alice.user_id), {"typing": True, "timeout": 30_000})
        await trio.sleep(60)
    assert not [it for it in network.requests[requests:] if it[0] == "one.test"]
    read = (await alice.get(in_room(room_id, "messages"), dir="b", limit="1")).json["chunk"]
    assert read[0]["content"]["body"] == "before"
    asking = Console(two.built.admin.dispatcher)
    assert "404 M_NOT_FOUND" in await asking.fail(f"fetch-pdu one.test '{read[0]['event_id']}'")

    # Leaving is always possible, and others hear of it.
    await leave(carol, room_id)
    await trio.sleep(60)
    assert await membership_of(bob, room_id, carol.user_id) == "leave"
    assert (await carol.post(in_room(room_id, "join"), {})).outcome == (403, "M_FORBIDDEN")

    assert await one.built.rooms.closed.enable(RoomId(room_id))
    assert not await one.built.rooms.closed.enable(RoomId(room_id))
    await send(bob, room_id, "heard again")
    await trio.sleep(600)
    chunk = (await alice.get(in_room(room_id, "messages"), dir="b", limit="10")).json["chunk"]
    bodies = [event["content"].get("body") for event in chunk]
    assert bodies[0] == "heard again"
    assert "not heard" in bodies


async def test_nobody_is_invited_to_a_disabled_room(network: Network, autojump_clock: MockClock) -> None:
    one, two = network["one.test"], network["two.test"]
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await create(bob, room_version="11")
    await one.built.rooms.closed.disable(RoomId(room_id))
    async with one.leaves_no_trace(but={"server_signingkeys", "server_keyresponse"}):
        assert (await bob.post(in_room(room_id, "invite"), {"user_id": alice.user_id})).status == 403
        for path in (f"/join/{room_id}", f"/knock/{room_id}"):
            assert (await alice.post(path, {}, via="two.test")).outcome == (403, "M_FORBIDDEN")
