"""Identity keys of devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conduit_py.matrix.ids import DeviceId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import e2ee
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import UserDevice


def get_keys(snapshot: Snapshot, user: ShortUserId, device_id: str) -> dict[str, Any] | None:
    """As the device uploaded them."""
    keys: dict[str, Any] | None = e2ee.DEVICE_KEYS.get(snapshot, UserDevice(user, device_id))
    return keys


def scan_keys(snapshot: Snapshot, user: ShortUserId) -> Iterator[tuple[DeviceId, dict[str, Any]]]:
    """The keys of every device of a user that has some."""
    for key, keys in e2ee.DEVICE_KEYS.scan(snapshot, user):
        yield DeviceId(key.device_id), keys


def stage_keys(turn: Turn, user: ShortUserId, device_id: DeviceId, keys: dict[str, Any]) -> None:
    turn.batch.put(e2ee.DEVICE_KEYS, UserDevice(user, device_id), keys)


def stage_removed(turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
    turn.batch.delete(e2ee.DEVICE_KEYS, UserDevice(user, device_id))
