"""When and from where each device was last active, to the hour: a request costs no write.

Spec: client-server-api/#get_matrixclientv3devices
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Final, NamedTuple

import trio

from conduit_py.data import devices
from conduit_py.matrix.ids import DeviceId
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import account_key
from kvschema.catalog.rooms import ShortUserId
from kvschema.errors import StorageFull

COARSE_MS: Final = 60 * 60 * 1000
FLUSH_S: Final = 60
DEVICES_MAX: Final = 20_000
"""Devices remembered as seen; one that is forgotten costs a write too many."""


class _Seen(NamedTuple):
    ms: int
    address: str


_DeviceKey = tuple[ShortUserId, DeviceId]


class LastSeen:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted_ms: OrderedDict[_DeviceKey, int] = OrderedDict()
        self._pending: dict[_DeviceKey, _Seen] = {}

    def is_due(self, requester: Requester) -> bool:
        """Was the device not noted within the hour?"""
        if requester.device_id is None:
            return False
        noted_ms = self._noted_ms.get((requester.user, requester.device_id))
        return noted_ms is None or noted_ms + COARSE_MS <= self._store.now_ms()

    def note(self, requester: Requester, address: str) -> None:
        """The device is active now; written with the next flush."""
        assert requester.device_id is not None
        key = (requester.user, requester.device_id)
        now_ms = self._store.now_ms()
        self._noted_ms[key] = now_ms
        self._noted_ms.move_to_end(key)
        while len(self._noted_ms) > DEVICES_MAX:
            self._noted_ms.popitem(last=False)
        self._pending[key] = _Seen(now_ms, address)

    async def flush(self) -> None:
        """Write what was noted."""
        while self._pending:
            (user, device_id), _ = next(iter(self._pending.items()))
            await self._flush_device(user, device_id)

    async def _flush_device(self, user: ShortUserId, device_id: DeviceId) -> None:
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            seen = self._pending.pop((user, device_id), None)
            with self._store.snapshot() as snapshot:
                device = devices.get_device(snapshot, user, device_id)
            if seen is not None and device is not None and device.last_seen_ms < seen.ms:
                devices.stage_device(
                    turn, user, device_id, device._replace(last_seen_ms=seen.ms, last_seen_ip=seen.address)
                )

    async def run(self) -> None:
        """Writes what was noted every minute. What the end of the server takes is not worth waiting for."""
        while True:
            await trio.sleep(FLUSH_S)
            # A full disk refuses even this; what was noted is told again within the hour.
            with contextlib.suppress(StorageFull):
                await self.flush()
