"""Messages that wait for their device."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from conduit_py.matrix.ids import DeviceId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import e2ee, users
from kvschema.catalog.e2ee import ToDevice, ToDeviceId
from kvschema.catalog.rooms import ShortUserId, StreamPos
from kvschema.catalog.users import Device, UserDevice

_NEVER = StreamPos((1 << 63) - 1)


def scan_messages(
    snapshot: Snapshot, user: ShortUserId, device_id: str, *, after: int, until: int
) -> Iterator[tuple[StreamPos, ToDevice]]:
    """Messages that arrived past ``after``, up to ``until``, in order."""
    start, stop = (ToDeviceId(user, device_id, StreamPos(pos)) for pos in (after, until))
    for key, message in e2ee.TO_DEVICE.scan(snapshot, user, device_id, after=start, until=stop):
        yield key.pos, message


def scan_acknowledged(snapshot: Snapshot, user: ShortUserId, device_id: str, *, until: int) -> Iterator[ToDeviceId]:
    """Messages that arrived at ``until`` or before."""
    return e2ee.TO_DEVICE.scan_keys(snapshot, user, device_id, until=ToDeviceId(user, device_id, StreamPos(until)))


def count_messages(snapshot: Snapshot, user: ShortUserId, device_id: str) -> int:
    """Costs their number."""
    return sum(1 for _ in e2ee.TO_DEVICE.scan_keys(snapshot, user, device_id))


def stage_message(turn: Turn, user: ShortUserId, device_id: DeviceId, device: Device, message: ToDevice) -> ToDeviceId:
    """``device`` is the row of the device; the batch is refused (``PreconditionFailed``) if it changed meanwhile."""
    turn.batch.require(users.USERDEVICEID_METADATA, UserDevice(user, device_id), device)
    key = ToDeviceId(user, device_id, StreamPos(turn.take_pos()))
    turn.batch.put(e2ee.TO_DEVICE, key, message)
    return key


def stage_oldest_removed(snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId, *, kept: int) -> int:
    """Leave the ``kept`` newest messages. Says how many there were."""
    newest = ToDeviceId(user, device_id, _NEVER)
    keys = list(e2ee.TO_DEVICE.scan_keys(snapshot, user, device_id, after=newest, reverse=True))
    for key in islice(keys, kept, None):
        turn.batch.delete(e2ee.TO_DEVICE, key)
    return len(keys)


def stage_delivered(turn: Turn, key: ToDeviceId) -> None:
    turn.batch.delete(e2ee.TO_DEVICE, key)


def stage_device_removed(snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
    for key in e2ee.TO_DEVICE.scan_keys(snapshot, user, device_id):
        turn.batch.delete(e2ee.TO_DEVICE, key)
