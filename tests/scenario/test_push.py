"""A phone that is told through its push gateway of what happens on two servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock

from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.http import HttpReply, Target
from kvschema.engine import Engine
from tests.rig.network import Network, open_network
from tests.rig.push import set_pusher
from tests.rig.rooms import create, in_room, leave, send

Json = dict[str, Any]


class Gateway:
    """push.test, in the network of servers."""

    def __init__(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[Json] = []
        self.is_down = False
        self._carry = network.carry
        monkeypatch.setattr(network, "carry", self._carry_or_take)

    async def _carry_or_take(
        self, origin: str, target: Target, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> HttpReply:
        if target.host != "push.test":
            return await self._carry(origin, target, method, path, headers, body)
        if self.is_down:
            raise Unreachable("push.test is down")
        self.told.append(orjson.loads(body)["notification"])
        return HttpReply(200, {}, b'{"rejected":[]}')

    async def take(self, autojump_clock: MockClock) -> list[Json]:
        """What was told within two minutes."""
        await trio.sleep(120)
        told, self.told = self.told, []
        return told


async def test_a_phone_hears_of_invites_and_messages_of_another_server(
    make_engine: Callable[[], Engine], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        gateway = Gateway(network, monkeypatch)
        alice = await network["one.test"].register("alice")
        bob = await network["two.test"].register("bob")
        await set_pusher(alice, format=None)

        room_id = await create(bob, name="Tea", preset="trusted_private_chat", invite=[alice.user_id])
        (told,) = await gateway.take(autojump_clock)
        assert (told["room_id"], told["room_name"], told["sender"]) == (room_id, "Tea", bob.user_id)
        assert (told["type"], told["user_is_target"]) == ("m.room.member", True)
        assert told["sender_display_name"].startswith("bob")
        assert (told["content"]["membership"], told["prio"], told["counts"]) == ("invite", "high", {})

        assert (await alice.post(in_room(room_id, "join"), {})).status == 200
        assert await gateway.take(autojump_clock) == []
        gateway.is_down = True
        event_id = await send(bob, room_id, "are you there?")
        await gateway.take(autojump_clock)
        await network["one.test"].restart()
        gateway.is_down = False
        (told,) = await gateway.take(autojump_clock)
        assert (told["event_id"], told["content"]["body"]) == (event_id, "are you there?")
        assert (told["counts"], told["room_name"]) == ({"unread": 1}, "Tea")

        assert (await alice.post(in_room(room_id, "receipt", "m.read", event_id), {})).status == 200
        (told,) = await gateway.take(autojump_clock)
        assert (told["counts"], "event_id" in told) == ({"unread": 0}, False)


async def test_an_invite_that_was_taken_back_is_not_pushed(
    make_engine: Callable[[], Engine], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        gateway = Gateway(network, monkeypatch)
        alice = await network["one.test"].register("alice")
        bob = await network["two.test"].register("bob")
        await set_pusher(alice)
        gateway.is_down = True
        room_id = await create(bob, invite=[alice.user_id])
        await gateway.take(autojump_clock)
        await leave(alice, room_id)
        gateway.is_down = False
        assert await gateway.take(autojump_clock) == []
