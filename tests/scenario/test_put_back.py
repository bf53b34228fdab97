"""An old copy of a server's data is put back, and nobody is told anything twice that meant something else before.

The server lives on after the copy was made, that life is lost, and it lives another one from the copy. Whatever leaves
the server and is good for one thing only is noted in each life.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import trio

from conduit_py.http.in_process import ClientReply
from conduit_py.service.restored import set_right
from conduit_py.storage.database import record_start
from kvschema.engine.memory import MemoryEngine
from tests.data.full_store import Rows, fill, read_rows
from tests.rig.bridge import registration, write_registrations
from tests.rig.client import Client, path
from tests.rig.crypto import Keys, claim, query, sync
from tests.rig.media import create as create_media
from tests.rig.network import Network, Node, open_network
from tests.rig.rooms import create, send
from tests.rig.server import START_MS

ONE, TWO, BRIDGE = "one.test", "two.test", "127.0.0.1"
LIFE_S = 600.0


class Wire:
    """Notes what the server says to another, on its way there, and to its bridge."""

    def __init__(self, network: Network) -> None:
        self.tokens: defaultdict[str, list[str]] = defaultdict(list)
        self._carry = network.carry
        network.carry = self.carry  # type: ignore[method-assign, assignment]
        network.played[BRIDGE] = self

    async def carry(self, origin: str, target: Any, method: str, at: str, headers: Any, body: bytes) -> Any:
        if origin == ONE and "/_matrix/federation/v1/send/" in at:
            self._note_transaction(at, orjson.loads(body))
        return await self._carry(origin, target, method, at, headers, body)

    def _note_transaction(self, at: str, transaction: Any) -> None:
        self.tokens["transaction"].append(at.rpartition("/")[2])
        for edu in transaction.get("edus", ()):
            content = edu["content"]
            if edu["edu_type"] == "m.device_list_update":
                self.tokens["device list"].append(str(content["stream_id"]))
            elif edu["edu_type"] == "m.direct_to_device":
                self.tokens["message to a device"].append(content["message_id"])

    async def handle(self, method: str, at: str, headers: Mapping[str, str], body: bytes) -> ClientReply:
        """The bridge."""
        if "/transactions/" in at:
            self.tokens["bridge's transaction"].append(at.rpartition("/")[2])
        return ClientReply(200, {}, b"{}")


class Story:
    """Alice of the server that is put back, and Bob of another."""

    def __init__(self, network: Network, wire: Wire, clock: object) -> None:
        self._clock = clock
        self.one, self.two = network[ONE], network[TWO]
        self.wire = wire
        self.alice: Client
        self.bob: Client
        self.room_id = ""
        self._keys = 0
        self._lives = 0

    async def begin(self) -> None:
        self.alice, self.bob = await self.one.register("alice"), await self.two.register("bob")
        self.room_id = await create(self.alice, visibility="public")
        await settle(self._clock)
        response = await self.bob.post(path("join", self.room_id), {}, via=ONE)
        assert response.status == 200, response.body
        await self.new_device(self.bob)
        # So that there are always some that the copy has, and that are handed out next.
        await self.upload_keys(self.alice)

    async def new_device(self, user: Client) -> Client:
        """Another session of the user, with keys."""
        other = (self.one if user is self.alice else self.two).client()
        identifier = {"type": "m.id.user", "user": user.user_id}
        body = {"type": "m.login.password", "identifier": identifier, "password": user.password}
        response = await other.post("/login", body)
        other.use_session(response.json)
        await self.upload_keys(other)
        return other

    async def upload_keys(self, client: Client) -> None:
        keys = Keys(client)
        self._keys += 10
        body = {
            "device_keys": keys.device_keys(),
            "one_time_keys": keys.one_time_keys(*range(self._keys, self._keys + 3)),
        }
        assert (await client.post("/keys/upload", body)).status == 200

    async def live(self) -> Mapping[str, set[str]]:
        """Everything that makes the server say something for the first time. What it said."""
        self._lives += 1
        self.wire.tokens.clear()
        said = self.wire.tokens
        alice = self.alice
        await self.upload_keys(alice)
        for number in range(3):
            text = f"hello {number} of life {self._lives}"
            said["event"].append(await send(alice, self.room_id, text))
            reply = await sync(alice)
            said["sync"].append(reply["next_batch"])
            (room,) = reply["rooms"]["join"].values()
            assert room["timeline"]["events"][-1]["content"]["body"] == text
            messages = {self.bob.user_id: {"*": {"number": number}}}
            await alice.put(path("sendToDevice", "org.example", f"{self._lives} {number}"), {"messages": messages})
            said["medium"].append(await create_media(alice))
            backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "abc"}}
            said["backup"].append((await alice.post("/room_keys/version", backup)).json["version"])
            for key in (await claim(self.bob, alice.user_id, alice.device_id)).values():
                said["one-time key"].extend(key)
            await settle(self._clock)
        await self.new_device(alice)
        await settle(self._clock)
        return {kind: set(names) for kind, names in said.items()}


async def settle(autojump_clock: object) -> None:
    """Whatever waits is sent and answered."""
    await trio.sleep(LIFE_S)


async def put_back(node: Node, rows: Rows) -> None:
    """The server stops, its files are replaced by the copy, and it starts as it does from a copy."""
    await node.stop()
    node.engine = MemoryEngine()
    fill(node.engine, rows)
    record_start(node.engine, START_MS * 1000 + int(trio.current_time() * 1_000_000))
    await node.start()
    await set_right(node.store)
    await node.restart()


@asynccontextmanager
async def open_story(folder: Path, clock: object) -> AsyncIterator[Story]:
    document = registration(url=f"http://{BRIDGE}:9", namespaces={"users": [{"regex": "@.*", "exclusive": False}]})
    files = write_registrations(folder, document)["APPSERVICES"]
    async with open_network(MemoryEngine, ONE, TWO, APPSERVICES=files) as network:
        story = Story(network, Wire(network), clock)
        await story.begin()
        yield story


async def test_nothing_is_used_twice(tmp_path: Path, autojump_clock: object) -> None:
    async with open_story(tmp_path, autojump_clock) as story:
        first = await story.live()
        copy = read_rows(story.one.engine)
        lost = await story.live()
        lost_since = (await sync(story.alice))["next_batch"]
        known = await query(story.bob, story.alice.user_id)
        lost_devices = set(known["device_keys"][story.alice.user_id])

        await put_back(story.one, copy)
        again = await story.live()
        kinds = {"backup", "bridge's transaction", "device list", "event", "medium", "message to a device", "sync"}
        for said in (first, lost, again):
            assert kinds | {"one-time key", "transaction"} == said.keys()
        for kind, names in again.items():
            assert names.isdisjoint(first[kind]), kind
            assert names.isdisjoint(lost[kind]), kind

        # A client that comes with a token of the lost life is told everything anew, and the other server was.
        reply = await sync(story.alice, lost_since)
        (room,) = reply["rooms"]["join"].values()
        assert room["timeline"]["limited"]
        known = await query(story.bob, story.alice.user_id)
        real = await query(story.alice, story.alice.user_id)
        devices = set(real["device_keys"][story.alice.user_id])
        assert set(known["device_keys"][story.alice.user_id]) == devices
        assert lost_devices - devices


async def test_other_server_forgets_devices_of_the_lost_life(tmp_path: Path, autojump_clock: object) -> None:
    """Also where nothing happens to any device afterwards."""
    async with open_story(tmp_path, autojump_clock) as story:
        await story.upload_keys(story.alice)
        await settle(autojump_clock)
        copy = read_rows(story.one.engine)
        lost = await story.new_device(story.alice)
        await settle(autojump_clock)
        known = await query(story.bob, story.alice.user_id)
        assert lost.device_id in known["device_keys"][story.alice.user_id]
        await put_back(story.one, copy)
        await settle(autojump_clock)
        known = await query(story.bob, story.alice.user_id)
        assert set(known["device_keys"][story.alice.user_id]) == {story.alice.device_id}
