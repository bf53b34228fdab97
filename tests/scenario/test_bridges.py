"""A bridge on one server, and somebody on another who wants to talk to its users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
import trio
from trio.testing import MockClock

from conduit_py.http.in_process import ClientReply
from kvschema.engine import Engine
from tests.rig.bridge import AS_TOKEN, SENDER, register_ghost, registration, write_registrations
from tests.rig.client import Client, path
from tests.rig.network import Network, open_network
from tests.rig.rooms import create, in_room

GHOST = "@_irc_bob:one.test"


class Bridge:
    """Notes what it is told, and makes every user and every room that it is asked for."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.told: list[dict[str, Any]] = []

    def client(self) -> Client:
        client = self._network["one.test"].client()
        client.access_token = AS_TOKEN
        return client

    async def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> ClientReply:
        name = unquote(target.rpartition("/")[2])[1:].partition(":")[0]
        if "/users/" in target:
            await register_ghost(self.client(), name)
        elif "/rooms/" in target:
            await create(self.client(), preset="public_chat", room_alias_name=name)
        else:
            self.told += orjson.loads(body)["events"]
        return ClientReply(200, {}, b"{}")


@pytest.mark.parametrize("user_id", [SENDER, GHOST])
async def test_users_of_a_bridge_are_invited_from_elsewhere(
    make_engine: Callable[[], Engine], autojump_clock: MockClock, tmp_path: Path, user_id: str
) -> None:
    bridges = write_registrations(tmp_path, registration(url="http://irc.test"))["APPSERVICES"]
    async with open_network(make_engine, "one.test", "two.test", APPSERVICES=bridges) as network:
        bridge = Bridge(network)
        network.played["irc.test"] = bridge
        bob = await network["two.test"].register("bob")
        room_id = await create(bob, preset="private_chat", name="Tea" * 6000)
        response = await bob.post(in_room(room_id, "invite"), {"user_id": user_id, "reason": "talk"})
        assert response.status == 200, response.body
        await trio.sleep(5)
        (invite,) = bridge.told
        assert (invite["room_id"], invite["sender"], invite["state_key"]) == (room_id, bob.user_id, user_id)
        assert (invite["content"]["membership"], invite["content"]["reason"]) == ("invite", "talk")
        shown = {(event["type"], event["state_key"]) for event in invite["unsigned"]["invite_room_state"]}
        assert {("m.room.create", ""), ("m.room.join_rules", "")} <= shown
        assert ("m.room.name", "") not in shown, "it is too long"
        assert ("m.room.member", user_id) not in shown
        assert (await bob.post(in_room(room_id, "kick"), {"user_id": user_id})).status == 200
        await trio.sleep(5)
        assert [event["content"]["membership"] for event in bridge.told] == ["invite", "leave"]
        assert (await bob.post(in_room(room_id, "invite"), {"user_id": user_id})).status == 200
        joined = await bridge.client().post(in_room(room_id, "join"), {}, user_id=user_id)
        assert joined.status == 200, joined.body
        await trio.sleep(5)
        assert [event["content"]["membership"] for event in bridge.told] == ["invite", "leave", "invite", "join"]


async def test_rooms_of_a_bridge_are_joined_from_elsewhere(
    make_engine: Callable[[], Engine], autojump_clock: MockClock, tmp_path: Path
) -> None:
    bridges = write_registrations(tmp_path, registration(url="http://irc.test"))["APPSERVICES"]
    async with open_network(make_engine, "one.test", "two.test", APPSERVICES=bridges) as network:
        network.played["irc.test"] = Bridge(network)
        bob = await network["two.test"].register("bob")
        joined = await bob.post(path("join", "#_irc_tea:one.test"), {})
        assert joined.status == 200, joined.body
        members = (await bob.get(in_room(joined.json["room_id"], "joined_members"))).json["joined"]
        assert members.keys() == {SENDER, bob.user_id}
        assert (await bob.post(path("join", "#tea:one.test"), {})).outcome == (404, "M_NOT_FOUND")
