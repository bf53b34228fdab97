"""A device that a user leaves with the server: it takes messages while the user is logged in nowhere.

A client that logs in later takes over its keys, which only the user can decrypt, and reads what came meanwhile. A draft
of the specification, which clients know under its unstable name.

Spec: proposals/#3814
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from conduit_py.data import dehydrated, devices, to_device
from conduit_py.data.dehydrated import DehydratedDevice
from conduit_py.matrix.ids import DeviceId
from conduit_py.service.e2ee.keys import KeyService, Upload
from conduit_py.service.e2ee.news import MESSAGES_MAX, render_message
from conduit_py.service.errors import Forbidden, InvalidParam, NotFound, TooLarge
from conduit_py.service.requester import Requester
from conduit_py.service.users.sessions import SessionService, check_device_id, check_display_name
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import account_key
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Device

DATA_BYTES_MAX: Final = 64 * 1024
POSITION_DIGITS_MAX: Final = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Dehydration:
    """What a client leaves behind."""

    device_id: str
    data: dict[str, Any]
    display_name: str | None
    keys: Upload


class DehydratedDevices:
    """One per server."""

    def __init__(self, store: Store, keys: KeyService, sessions: SessionService) -> None:
        self._store = store
        self._keys = keys
        self._sessions = sessions

    async def put(self, requester: Requester, new: Dehydration) -> DeviceId:
        """Make the device, in place of the one before. Raises what an upload of keys does, and ``InvalidParam``."""
        user, device_id = requester.user, check_device_id(new.device_id)
        text = orjson.dumps(new.data).decode()
        if len(text) > DATA_BYTES_MAX:
            raise TooLarge(f"device_data must not exceed {DATA_BYTES_MAX} bytes")
        if new.keys.device_keys is None:
            raise InvalidParam("A dehydrated device needs device_keys")
        now_ms = self._store.now_ms()
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if devices.get_device(snapshot, user, device_id) is not None:
                    raise InvalidParam("There is a device with this id")
                before = dehydrated.get_dehydrated(snapshot, user)
                if before is not None:
                    self._sessions.stage_closed(snapshot, turn, user, DeviceId(before.device_id))
                device = Device(now_ms, check_display_name(new.display_name))
                devices.stage_device(turn, user, device_id, device)
                self._sessions.stage_changed(snapshot, turn, user, device_id)
                self._keys.stage_upload(snapshot, turn, replace(requester, device_id=device_id), new.keys)
                dehydrated.stage_dehydrated(turn, user, DehydratedDevice(device_id, text))
        return device_id

    def require(self, requester: Requester) -> dict[str, Any]:
        """Its id and data. Raises ``NotFound``."""
        with self._store.snapshot() as snapshot:
            device = _require(snapshot, requester.user)
        return {"device_id": device.device_id, "device_data": orjson.loads(device.data)}

    async def delete(self, requester: Requester) -> str:
        """Remove the device with everything of it. Returns its id; raises ``NotFound``."""
        user = requester.user
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                device = _require(snapshot, user)
                self._sessions.stage_closed(snapshot, turn, user, DeviceId(device.device_id))
        return device.device_id

    def read_messages(self, requester: Requester, device_id: str, next_batch: str | None) -> tuple[bytes, str]:
        """Messages past a token, as JSON, and the next token. They are kept until the device goes.

        Raises ``NotFound`` where there is no such device, ``Forbidden`` for another one.
        """
        after = _parse_token(next_batch)
        with self._store.snapshot() as snapshot:
            device = _require(snapshot, requester.user)
            if device.device_id != device_id:
                raise Forbidden("This is not your dehydrated device")
            messages: list[bytes] = []
            scanned = to_device.scan_messages(
                snapshot, requester.user, device_id, after=after, until=max(after, snapshot.pos)
            )
            for pos, message in scanned:
                if len(messages) == MESSAGES_MAX:
                    break
                messages.append(render_message(message))
                after = pos
        return b"[" + b",".join(messages) + b"]", str(after)


def _require(snapshot: Snapshot, user: ShortUserId) -> DehydratedDevice:
    device = dehydrated.get_dehydrated(snapshot, user)
    if device is None:
        raise NotFound("No dehydrated device available")
    return device


def _parse_token(next_batch: str | None) -> int:
    if next_batch is None:
        return 0
    if not (next_batch.isascii() and next_batch.isdigit() and len(next_batch) <= POSITION_DIGITS_MAX):
        raise InvalidParam("next_batch is not one that was handed out")
    return int(next_batch)
