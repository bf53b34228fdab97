"""Claims while others are on their way to the disk: with the writer's thread and LMDB, as the server runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from conduit_py.data import devices
from conduit_py.matrix.ids import DeviceId
from conduit_py.outbound.user_keys import UserKeysClient
from conduit_py.service.e2ee.device_lists import DeviceLists
from conduit_py.service.e2ee.keys import KeyService, Upload
from conduit_py.service.e2ee.remote_lists import RemoteLists
from conduit_py.service.e2ee.removal import DeviceRemoval
from conduit_py.service.e2ee.to_device import Messages, ToDeviceService
from conduit_py.service.requester import Requester
from kvschema.catalog import CATALOG, e2ee
from kvschema.catalog.users import Device
from kvschema.engine.lmdb import LmdbEngine
from kvschema.tree import Tree
from tests.rig.remote import Remotes
from tests.service.sync.world import SERVER_NAME, World, open_world

ALGORITHM = "curve25519"


class Setting:
    """A device with keys, on a server with a writer thread."""

    def __init__(self, world: World, alice: Requester) -> None:
        source = UserKeysClient(Remotes())
        self.world, self.alice = world, alice
        self.removal = DeviceRemoval(DeviceLists(world.store, world.hub, None))
        remote = RemoteLists(world.store, self.removal.lists, source)
        self.keys = KeyService(SERVER_NAME, world.store, world.hub, self.removal, remote, source)
        self.to_device = ToDeviceService(SERVER_NAME, world.store, world.hub, self.removal.in_flight, None)

    async def make_device(self, *, keys: int) -> None:
        async with self.world.store.writer.turn() as turn:
            devices.stage_device(turn, self.alice.user, DeviceId("PHONE"), Device(0))
        one_time_keys = {f"{ALGORITHM}:{number:03}": f"key {number}" for number in range(keys)}
        upload = Upload(one_time_keys=one_time_keys, fallback_keys={f"{ALGORITHM}:F": "fallback"})
        assert await self.keys.upload(self.alice, upload) == {ALGORITHM: keys}

    async def remove_device(self) -> None:
        store = self.world.store
        async with store.writer.turn() as turn:
            with store.snapshot() as snapshot:
                self.removal.stage_removed(snapshot, turn, self.alice.user, DeviceId("PHONE"))
                devices.stage_removed(turn, self.alice.user, DeviceId("PHONE"))

    async def claim(self, into: list[str]) -> None:
        wanted: dict[str, dict[str, str]] = {self.alice.user_id: {"PHONE": ALGORITHM}}
        claimed = (await self.keys.claim(wanted))["one_time_keys"]
        into.extend(claimed.get(self.alice.user_id, {}).get("PHONE", {}))

    async def send(self, number: int) -> None:
        messages: Messages = {self.alice.user_id: {"PHONE": {"number": number}}}
        sender = replace(self.alice, device_id=DeviceId(f"SENDER{number}"))
        await self.to_device.send(sender, "org.example", "1", messages)


def open_engine(folder: Path) -> LmdbEngine:
    return LmdbEngine(folder / "db", [tree.name for tree in CATALOG], reserve_bytes=0)


async def test_a_thousand_claims_at_once_get_a_hundred_keys_once_each(tmp_path: Path) -> None:
    async with open_world(open_engine(tmp_path), threaded=True) as world:
        setting = Setting(world, await world.user("alice"))
        await setting.make_device(keys=100)
        groups = world.store.writer.groups
        claimed: list[str] = []
        async with trio.open_nursery() as claims:
            for _ in range(1000):
                claims.start_soon(setting.claim, claimed)
        counts = Counter(claimed)
        assert counts.pop(f"{ALGORITHM}:F") == 900
        assert counts == {f"{ALGORITHM}:{number:03}": 1 for number in range(100)}
        assert world.store.writer.groups - groups < 100, "claims share what they write"


async def test_claims_and_messages_while_the_device_goes_leave_nothing_of_it(tmp_path: Path) -> None:
    async with open_world(open_engine(tmp_path), threaded=True) as world:
        setting = Setting(world, await world.user("alice"))
        await setting.make_device(keys=50)
        claimed: list[str] = []
        async with trio.open_nursery() as claims:
            for number in range(60):
                claims.start_soon(setting.claim, claimed)
                claims.start_soon(setting.send, number)
                if number == 30:
                    claims.start_soon(setting.remove_device)
        assert all(number == 1 for key, number in Counter(claimed).items() if not key.endswith(":F"))
        with world.store.snapshot() as snapshot:
            trees: tuple[Tree[Any, Any], ...] = (
                e2ee.TO_DEVICE,
                e2ee.ONE_TIME_KEYS,
                e2ee.ONE_TIME_KEY_COUNT,
                e2ee.LAST_CLAIM,
                e2ee.ISSUED_KEYS,
            )
            assert [row for tree in (*trees, e2ee.FALLBACK_KEYS) for row in tree.scan(snapshot)] == []
