"""A room of several servers whose policy server has a say in everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock

from conduit_py.http.in_process import ClientReply
from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import KeyId, ServerName
from conduit_py.matrix.policy_server import POLICY_KEY_ID
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.signing import SigningKey, sign_event
from kvschema.engine import Engine
from tests.rig.client import Client, path
from tests.rig.network import Network, open_network
from tests.rig.peer import open_peer
from tests.rig.rooms import create, in_room, send, set_state

POLICY = ServerName("policy.test")
KEY = SigningKey.from_seed(KeyId(POLICY_KEY_ID), b"p" * 32)
CONTENT = {"via": POLICY, "public_keys": {"ed25519": encode_base64(KEY.public_key)}}
ROOM_VERSION = "11"


@dataclass
class PolicyServer:
    """Signs everything but what is by people whom it dislikes."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    disliked: set[str] = field(default_factory=set)
    takes_its_time: set[str] = field(default_factory=set)
    """About what these people send."""

    async def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> ClientReply:
        await trio.lowlevel.checkpoint()
        if path != "/_matrix/policy/v1/sign":
            return ClientReply(200, {}, b'{"pdus":{}}')
        event = orjson.loads(body)
        self.asked.append(event)
        if event["sender"] in self.takes_its_time:
            await trio.sleep(5)
        if event["sender"] in self.disliked:
            return ClientReply(400, {}, b'{"errcode":"M_FORBIDDEN","error":"not you"}')
        signed = sign_event(event, ROOM_VERSIONS[ROOM_VERSION], server_name=POLICY, signing_key=KEY)
        return ClientReply(
            200, {}, orjson.dumps({POLICY: {POLICY_KEY_ID: signed["signatures"][POLICY][POLICY_KEY_ID]}})
        )

    def memberships_of(self, user_id: str) -> list[str]:
        """Membership events that it was asked about."""
        return [event["content"]["membership"] for event in self.asked if event.get("state_key") == user_id]


@dataclass
class Guarded:
    """Alice on one.test in a room that is guarded, and Bob on two.test."""

    network: Network
    policy: PolicyServer
    alice: Client
    bob: Client
    room_id: str

    async def join(self, user: Client) -> int:
        response = await user.post(f"{path('join', self.room_id)}?via=one.test", {})
        return response.status

    async def said(self, reader: Client) -> list[str]:
        page = await reader.get(in_room(self.room_id, "messages"), dir="b", limit="50")
        assert page.status == 200
        return [event["content"]["body"] for event in page.json["chunk"] if "body" in event["content"]][::-1]


@pytest.fixture
async def guarded(make_engine: Callable[[], Engine]) -> AsyncIterator[Guarded]:
    async with open_network(make_engine, "one.test", "two.test") as network:
        policy = network.played[POLICY] = PolicyServer()
        alice = await network["one.test"].register("alice")
        bob = await network["two.test"].register("bob")
        room_id = await create(alice, room_version=ROOM_VERSION)
        guard = await open_peer(network["one.test"], POLICY)
        await open_peer(network["two.test"], POLICY)
        await guard.join(room_id, guard.user("guard"))
        await set_state(alice, room_id, "m.room.policy", CONTENT)
        yield Guarded(network, policy, alice, bob, room_id)


async def test_people_of_other_servers_come_in_and_talk(guarded: Guarded, autojump_clock: MockClock) -> None:
    alice, bob = guarded.alice, guarded.bob
    assert await guarded.join(bob) == 200
    # What was only proposed to Bob's server was nobody's event, so nobody was asked about it.
    assert guarded.policy.memberships_of(bob.user_id) == ["join"]
    await send(bob, guarded.room_id, "hello")
    await trio.sleep(10)
    await send(alice, guarded.room_id, "welcome")
    await trio.sleep(10)
    assert await guarded.said(alice) == await guarded.said(bob) == ["hello", "welcome"]


async def test_who_is_not_liked_does_not_come_in(guarded: Guarded, autojump_clock: MockClock) -> None:
    guarded.policy.disliked.add(guarded.bob.user_id)
    assert await guarded.join(guarded.bob) == 403
    assert (await guarded.bob.get("/joined_rooms")).json["joined_rooms"] == []
    member = await guarded.alice.get(in_room(guarded.room_id, "state", "m.room.member", guarded.bob.user_id))
    assert member.status == 404


async def test_room_goes_on_while_the_policy_server_takes_its_time(guarded: Guarded, autojump_clock: MockClock) -> None:
    alice, bob = guarded.alice, guarded.bob
    assert await guarded.join(bob) == 200
    await send(bob, guarded.room_id, "first")
    await trio.sleep(10)
    guarded.policy.takes_its_time.add(alice.user_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, alice, guarded.room_id, "slow")
        await trio.sleep(1)
        await send(bob, guarded.room_id, "meanwhile")
        await trio.sleep(2)
        assert await guarded.said(alice) == ["first", "meanwhile"]
    assert await guarded.said(alice) == ["first", "meanwhile", "slow"]
    # What was signed first would have followed what is not the last event any more.
    signed = [event["content"]["body"] for event in guarded.policy.asked if event["sender"] == alice.user_id]
    assert signed == ["slow", "slow"]
    await trio.sleep(10)
    assert await guarded.said(bob) == ["first", "meanwhile", "slow"]


async def test_somebody_can_be_heard_in_a_room_that_never_stands_still(
    guarded: Guarded, autojump_clock: MockClock
) -> None:
    alice, bob = guarded.alice, guarded.bob
    assert await guarded.join(bob) == 200
    guarded.policy.takes_its_time.add(alice.user_id)

    async def chat() -> None:
        for number in range(12):
            await send(bob, guarded.room_id, str(number))
            await trio.sleep(2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat)
        await trio.sleep(1)
        await send(alice, guarded.room_id, "at last")
        assert "11" not in await guarded.said(alice)
    await trio.sleep(30)
    assert set(await guarded.said(alice)) == {*map(str, range(12)), "at last"}
