"""Devices of local users. A device exists while its row does."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.matrix.ids import DeviceId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import DEVICE_ID_BYTES_MAX, Device, UserDevice


def is_storable(device_id: str) -> bool:
    """Can there be such a device? Free of control characters, so that it takes no more bytes as a key."""
    return 0 < len(device_id.encode("utf-8", "surrogatepass")) <= DEVICE_ID_BYTES_MAX and device_id.isprintable()


def get_device(snapshot: Snapshot, user: ShortUserId, device_id: str) -> Device | None:
    if not is_storable(device_id):
        return None
    return users.USERDEVICEID_METADATA.get(snapshot, UserDevice(user, device_id))


def scan_devices(snapshot: Snapshot, user: ShortUserId) -> Iterator[tuple[DeviceId, Device]]:
    for key, device in users.USERDEVICEID_METADATA.scan(snapshot, user):
        yield DeviceId(key.device_id), device


def stage_device(turn: Turn, user: ShortUserId, device_id: DeviceId, device: Device) -> None:
    turn.batch.put(users.USERDEVICEID_METADATA, UserDevice(user, device_id), device)


def stage_removed(turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
    turn.batch.delete(users.USERDEVICEID_METADATA, UserDevice(user, device_id))
