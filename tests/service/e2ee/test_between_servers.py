"""Two servers that tell each other of devices and keys, and carry messages between devices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from conduit_py.data import device_keys, remote_lists
from conduit_py.matrix.edus import DirectToDevice, build_direct_to_device
from conduit_py.matrix.ids import DeviceId, Malformed, ServerName, UserId
from conduit_py.service.e2ee.to_device import EDU_BYTES_MAX, split_by_server
from kvschema.catalog import e2ee
from kvschema.catalog.rooms import StreamPos
from kvschema.engine import Engine
from tests.rig.client import Client, path
from tests.rig.crypto import CrossSigning, Json, Keys, query, sync, without_signatures
from tests.rig.network import Network, open_network
from tests.rig.remote_members import open_remote_members
from tests.rig.rooms import create

ONE, TWO = ServerName("one.test"), ServerName("two.test")
ALICE, BOB = UserId("@alice:one.test"), UserId("@bob:two.test")


class Scene:
    """Alice's phone on one.test and Bob's box on two.test, with keys. Each knows the other to be in a room."""

    def __init__(self, pair: Network, alice: Client, bob: Client) -> None:
        self.pair, self.alice, self.bob = pair, alice, bob
        self.since = ""

    async def another(self, name: str) -> Client:
        """Another device of Bob's, with keys."""
        client = self.pair[TWO].client()
        identifier = {"type": "m.id.user", "user": BOB}
        body = {"type": "m.login.password", "identifier": identifier, "password": self.bob.password}
        client.use_session((await client.post("/login", {**body, "device_id": name})).json)
        await Keys(client).upload_all()
        return client

    async def devices(self) -> Json:
        """Bob's, as one.test holds them: it does not have to ask."""
        self.pair.requests.clear()
        answer = await query(self.alice, BOB)
        assert [path for _, _, _, path in self.pair.requests if "/user/" in path] == []
        devices: Json = answer["device_keys"][BOB]
        return devices

    async def changed(self) -> list[str]:
        """What Alice's /sync tells since the last time."""
        reply = await sync(self.alice, self.since)
        self.since = reply["next_batch"]
        return [user_id for user_id in reply["device_lists"]["changed"] if user_id == BOB]

    async def tell(self, txn_id: str, content: Json, device_id: str = "PHONE", **more: Json) -> None:
        """Bob's box sends to Alice's device."""
        messages = {ALICE: {device_id: content, **more}}
        response = await self.bob.put(path("sendToDevice", "a.b", txn_id), {"messages": messages})
        assert response.json == {}

    async def told(self, client: Client) -> list[Json]:
        """What waits for a device, whether it was told before or not."""
        return [event["content"] for event in (await sync(client))["to_device"]["events"]]


@pytest.fixture
async def scene(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> AsyncIterator[Scene]:
    async with open_network(make_engine, ONE, TWO) as pair:
        alice = await pair[ONE].register("alice", device_id="PHONE")
        bob = await pair[TWO].register("bob", device_id="BOX", initial_device_display_name="Box")
        scene = Scene(pair, alice, bob)
        for node, client, other in ((pair[ONE], alice, BOB), (pair[TWO], bob, ALICE)):
            await Keys(client).upload_all()
            members = await open_remote_members(node.store, node.built.hub, node.name)
            await members.join(other, await create(client))
        await query(alice, BOB)
        await scene.another("TABLET")  # The first update makes one.test ask for the list with its version.
        await trio.sleep(1)
        scene.since = (await sync(alice))["next_batch"]
        assert list(await scene.devices()) == ["BOX", "TABLET"]
        yield scene


async def test_new_device_is_told(scene: Scene, autojump_clock: MockClock) -> None:
    laptop = await scene.another("LAPTOP")
    await trio.sleep(1)
    assert await scene.changed() == [BOB]
    assert (await scene.devices())["LAPTOP"] == Keys(laptop).device_keys()
    assert await scene.changed() == []


async def test_name_of_a_device_is_told(scene: Scene, autojump_clock: MockClock) -> None:
    await scene.bob.put("/devices/BOX", {"display_name": "My box"})
    await trio.sleep(1)
    assert await scene.changed() == [BOB]
    assert (await scene.devices())["BOX"]["unsigned"] == {"device_display_name": "My box"}


async def test_device_that_goes_is_told(scene: Scene, autojump_clock: MockClock) -> None:
    await scene.bob.post("/logout")
    await trio.sleep(1)
    assert await scene.changed() == [BOB]
    assert list(await scene.devices()) == ["TABLET"]


async def test_cross_signing_keys_and_what_they_sign_are_told(scene: Scene, autojump_clock: MockClock) -> None:
    crossed, keys = CrossSigning(BOB), Keys(scene.bob)
    await scene.bob.post("/keys/device_signing/upload", crossed.body())
    await trio.sleep(1)
    assert await scene.changed() == [BOB]
    signed = crossed.sign("self_signing", without_signatures(keys.device_keys()))
    master = keys.sign(without_signatures(crossed.key("master")))
    body = {BOB: {"BOX": signed, crossed.public("master"): master}}
    assert (await scene.bob.post("/keys/signatures/upload", body)).json == {"failures": {}}
    await trio.sleep(1)
    assert await scene.changed() == [BOB]
    by = f"ed25519:{crossed.public('self_signing')}"
    told = (await scene.devices())["BOX"]["signatures"][BOB]
    assert told == {**keys.device_keys()["signatures"][BOB], by: signed["signatures"][BOB][by]}
    answer = await query(scene.alice, BOB)
    assert answer["master_keys"][BOB]["signatures"] == master["signatures"]
    assert answer["self_signing_keys"][BOB] == crossed.key("self_signing")


async def test_changes_while_the_network_is_cut_are_told_when_it_heals(scene: Scene, autojump_clock: MockClock) -> None:
    scene.pair.cut(ONE, TWO)
    await scene.another("LAPTOP")
    await trio.sleep(5)
    await scene.bob.post("/logout")
    await scene.pair[TWO].restart()
    await trio.sleep(5)
    assert await scene.changed() == []
    scene.pair.heal()
    await trio.sleep(3600)
    assert await scene.changed() == [BOB]
    assert list(await scene.devices()) == ["LAPTOP", "TABLET"]


async def test_change_that_nobody_was_told_of_makes_others_ask(scene: Scene, autojump_clock: MockClock) -> None:
    """While a server does not federate its users' devices change all the same."""
    node = scene.pair[TWO]
    federating = node.config
    await node.stop()
    node.config = replace(federating, allow_federation=False)
    await node.start()
    await scene.bob.put("/devices/BOX", {"display_name": "Renamed"})
    await scene.another("LAPTOP")
    await node.stop()
    node.config = federating
    await node.start()
    await scene.another("WATCH")
    await trio.sleep(60)
    assert list(await scene.devices()) == ["BOX", "LAPTOP", "TABLET", "WATCH"]
    assert (await scene.devices())["BOX"]["unsigned"] == {"device_display_name": "Renamed"}


async def test_who_joins_is_told_of_to_servers_that_are_met_anew(
    make_engine: Callable[[], Engine], autojump_clock: MockClock
) -> None:
    """A server that still holds what it knew from another time is told, and asks."""
    async with open_network(make_engine, ONE, TWO) as pair:
        alice = await pair[ONE].register("alice")
        bob = await pair[TWO].register("bob", device_id="BOX")
        await Keys(bob).upload_all()
        store = pair[ONE].store
        async with store.writer.turn() as turn:
            with store.snapshot() as snapshot:
                user = store.ids.intern_user(snapshot, turn, BOB)
                remote_lists.stage_list(turn, TWO, user, remote_lists.RemoteList(1, StreamPos(snapshot.pos)))
                keys = {"user_id": BOB, "device_id": "OLD"}
                device_keys.stage_keys(turn, user, DeviceId("OLD"), keys)
        for asked in (1, 0):
            pair.requests.clear()
            assert (await bob.post(path("join", await create(alice)), {}, via=ONE)).status == 200
            await trio.sleep(5)
            assert len([it for it in pair.requests if it[0] == ONE and "/user/devices/" in it[3]]) == asked
            with store.snapshot() as snapshot:
                assert [device_id for device_id, _ in device_keys.scan_keys(snapshot, user)] == ["BOX"]


async def test_what_was_not_announced_yet_is_after_a_restart(scene: Scene, autojump_clock: MockClock) -> None:
    node = scene.pair[TWO]
    lists = node.built.e2ee.lists
    async with node.store.writer.turn() as turn:
        with node.store.snapshot() as snapshot:
            ((key, _), *_) = e2ee.LIST_STREAM.scan(snapshot)
            lists.stage_changed(snapshot, turn, key.user, "BOX")
        turn._landed.clear()  # Nobody rings: the server is gone before it does.
    await node.restart()
    await trio.sleep(5)
    assert await scene.changed() == [BOB]


async def test_server_without_shared_rooms_is_told_nothing(
    make_engine: Callable[[], Engine], autojump_clock: MockClock
) -> None:
    async with open_network(make_engine, ONE, TWO) as pair:
        bob = await pair[TWO].register("bob")
        await create(bob)
        await Keys(bob).upload_all()
        await trio.sleep(5)
        assert pair.requests == []
        with pair[TWO].store.snapshot() as snapshot:
            assert list(e2ee.ANNOUNCEMENTS.scan(snapshot)) == []


async def test_message_reaches_a_device_of_another_server_once(scene: Scene, autojump_clock: MockClock) -> None:
    for _ in range(2):
        await scene.tell("1", {"hello": "there"})
    await trio.sleep(1)
    reply = await sync(scene.alice)
    assert reply["to_device"]["events"] == [{"sender": BOB, "type": "a.b", "content": {"hello": "there"}}]
    reply = await sync(scene.alice, reply["next_batch"])
    assert reply["to_device"]["events"] == []


async def test_messages_come_in_order_through_cuts_and_restarts(scene: Scene, autojump_clock: MockClock) -> None:
    for number in range(120):
        if number == 20:
            scene.pair.cut(ONE, TWO)
        if number == 50:
            await scene.pair[TWO].restart()
        if number == 80:
            await scene.pair[ONE].restart()
        if number == 100:
            scene.pair.heal()
        await scene.tell(f"number {number}", {"number": number})
    await trio.sleep(3600)
    numbers: list[int] = []
    since = None
    while events := (reply := await sync(scene.alice, since))["to_device"]["events"]:
        numbers += [event["content"]["number"] for event in events]
        since = reply["next_batch"]
    assert numbers == list(range(120))


async def test_message_to_a_star_reaches_every_device_of_the_user(scene: Scene, autojump_clock: MockClock) -> None:
    await scene.tell("1", {"to": "all"}, device_id="*")
    await scene.tell("2", {"to": "one"}, GONE={"to": "nobody"})
    await trio.sleep(1)
    assert await scene.told(scene.alice) == [{"to": "all"}, {"to": "one"}]


async def receive(scene: Scene, message_id: str, messages: dict[Any, Any], sender: str = BOB) -> None:
    edu = build_direct_to_device(
        DirectToDevice(sender=UserId(sender), type="a.b", message_id=message_id, messages=messages)
    )
    await scene.pair[ONE].built.e2ee.edus.direct_to_device(TWO, edu["content"])


async def test_direct_to_device_that_is_repeated_is_delivered_once(scene: Scene, autojump_clock: MockClock) -> None:
    await receive(scene, "a", {ALICE: {DeviceId("PHONE"): {"n": 1}}})
    await scene.pair[ONE].restart()
    async with scene.pair[ONE].leaves_no_trace():
        await receive(scene, "a", {ALICE: {DeviceId("PHONE"): {"n": 1}}})
    await receive(scene, "b", {ALICE: {DeviceId("PHONE"): {"n": 1}}})
    assert await scene.told(scene.alice) == [{"n": 1}, {"n": 1}]


async def test_direct_to_device_leaves_out_what_is_too_large_or_not_ours(
    scene: Scene, autojump_clock: MockClock
) -> None:
    messages = {
        ALICE: {"PHONE": {"n": 1}, "GONE": {"n": 2}},
        "@bob:two.test": {"BOX": {"n": 3}},
        "@nobody:one.test": {"X": {"n": 4}},
    }
    await receive(scene, "a", messages)
    await receive(scene, "b", {ALICE: {"PHONE": {"n": "x" * 100_000}}})
    assert await scene.told(scene.alice) == [{"n": 1}]
    assert await scene.told(scene.bob) == []


async def test_direct_to_device_of_somebody_elses_user_is_malformed(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.pair[ONE].leaves_no_trace():
        with pytest.raises(Malformed):
            await receive(scene, "a", {ALICE: {"PHONE": {"n": 1}}}, sender="@eve:three.test")


def test_large_messages_are_split() -> None:
    content = {"x": "y" * (EDU_BYTES_MAX // 3)}
    messages = {f"@{name}:two.test": {str(number): content for number in range(3)} for name in "ab"}
    parts = split_by_server({**messages, "@c:three.test": {"X": {}}})
    assert [server_name for server_name, _ in parts] == [TWO, TWO, TWO, "three.test"]
    sent = [(user_id, it) for _, part in parts for user_id, by_device in part.items() for it in by_device]
    assert sent == [(f"@{name}:two.test", str(number)) for name in "ab" for number in range(3)] + [
        ("@c:three.test", "X")
    ]
