"""Servers that know only the oldest operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock

from conduit_py.http.in_process import ClientReply
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.signing import sign_event
from kvschema.engine import Engine
from tests.rig.asking import ask_member, membership_of
from tests.rig.network import open_network
from tests.rig.peer import Peer, open_peer
from tests.rig.rooms import create


@dataclass
class OldServer:
    """Takes invites in the first way only."""

    peer: Peer
    invites: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> ClientReply:
        await trio.lowlevel.checkpoint()
        if path.startswith("/_matrix/federation/v1/send/"):
            return ClientReply(200, {}, b'{"pdus":{}}')
        self.asked.append(path.split("/")[3])
        if not path.startswith("/_matrix/federation/v1/invite/"):
            return ClientReply(404, {}, b'{"errcode":"M_UNRECOGNIZED","error":"what?"}')
        event = orjson.loads(body)
        self.invites.append(event)
        signed = sign_event(event, ROOM_VERSIONS["1"], server_name=self.peer.name, signing_key=self.peer.key)
        return ClientReply(200, {}, orjson.dumps([200, {"event": signed}]))


@pytest.mark.parametrize("version", ["1", "2"])
async def test_old_server_is_invited_to_an_old_room(
    make_engine: Callable[[], Engine], autojump_clock: MockClock, version: str
) -> None:
    async with open_network(make_engine, "one.test") as network:
        old = network.played["old.test"] = OldServer(await open_peer(network["one.test"], "old.test"))
        alice = await network["one.test"].register("alice")
        room_id = await create(alice, room_version=version)
        bob = old.peer.user("bob")
        assert (await ask_member(alice, room_id, "invite", bob)).status == 200
        assert await membership_of(alice, room_id, bob) == "invite"
        [invite] = old.invites
        assert (invite["state_key"], invite["room_id"]) == (bob, room_id)
        assert "m.room.create" in {event["type"] for event in invite["unsigned"]["invite_room_state"]}
        assert old.asked == ["v2", "v1"]


async def test_old_server_is_not_invited_to_a_room_that_it_cannot_know(
    make_engine: Callable[[], Engine], autojump_clock: MockClock
) -> None:
    async with open_network(make_engine, "one.test") as network:
        old = network.played["old.test"] = OldServer(await open_peer(network["one.test"], "old.test"))
        alice = await network["one.test"].register("alice")
        room_id = await create(alice, room_version="3")
        bob = old.peer.user("bob")
        assert (await ask_member(alice, room_id, "invite", bob)).outcome == (502, "M_UNKNOWN")
        assert await membership_of(alice, room_id, bob) is None
        assert old.asked == ["v2"]
