"""What is remembered of the queues of devices."""

from __future__ import annotations

import pytest

from conduit_py.data import devices
from conduit_py.data import to_device as data
from conduit_py.matrix.ids import DeviceId
from conduit_py.service.e2ee import to_device
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Device
from tests.service.sync.world import open_world


async def test_queues_are_counted_again_of_devices_that_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices come and go, and some never fetch what was sent to them: they must not be remembered for ever."""
    monkeypatch.setattr(to_device, "COUNTED_MAX", 2)
    counted: list[str] = []
    count = data.count_messages

    def count_messages(snapshot: Snapshot, user: ShortUserId, device_id: str) -> int:
        counted.append(device_id)
        return count(snapshot, user, device_id)

    monkeypatch.setattr(data, "count_messages", count_messages)
    async with open_world() as world:
        alice = await world.user("alice")
        async with world.store.writer.turn() as turn:
            for device_id in ("PHONE", "LAPTOP", "BOX"):
                devices.stage_device(turn, alice.user, DeviceId(device_id), Device(0))
        for number, device_id in enumerate(("PHONE", "PHONE", "LAPTOP", "BOX", "LAPTOP", "BOX", "PHONE")):
            await world.to_device.send(alice, "org.example", f"{number}", {alice.user_id: {device_id: {}}})
        assert counted == ["PHONE", "LAPTOP", "BOX", "PHONE"]
        with world.store.snapshot() as snapshot:
            assert [count(snapshot, alice.user, it) for it in ("PHONE", "LAPTOP", "BOX")] == [3, 2, 2]
