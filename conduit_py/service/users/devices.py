"""A user's devices, as the user sees and manages them.

Spec: client-server-api/#device-management
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from conduit_py.data import devices
from conduit_py.data.digest import digest
from conduit_py.matrix.ids import DeviceId
from conduit_py.service.errors import NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.users.reauth import Reauthentication
from conduit_py.service.users.sessions import SessionService, check_display_name
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import account_key
from kvschema.catalog.users import Device


class DeviceService:
    """One per server."""

    def __init__(self, store: Store, sessions: SessionService, reauth: Reauthentication) -> None:
        self._store = store
        self._sessions = sessions
        self._reauth = reauth

    def get_devices(self, requester: Requester) -> list[dict[str, Any]]:
        """Every device of the requester, in the form of the spec."""
        with self._store.snapshot() as snapshot:
            return [_render(device_id, device) for device_id, device in devices.scan_devices(snapshot, requester.user)]

    def require_device(self, requester: Requester, device_id: str) -> dict[str, Any]:
        """Raises ``NotFound``."""
        with self._store.snapshot() as snapshot:
            device = devices.get_device(snapshot, requester.user, device_id)
        if device is None:
            raise _no_device()
        return _render(DeviceId(device_id), device)

    async def rename_device(self, requester: Requester, device_id: str, display_name: str | None) -> bool:
        """Whether the device is new, which it may be for an application service. None leaves the name as it is.

        Raises ``NotFound``.

        Spec: application-service-api/#device-management
        """
        check_display_name(display_name)
        user = requester.user
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                device = devices.get_device(snapshot, user, device_id)
                if device is None and requester.appservice_id is not None:
                    self._sessions.stage_device(snapshot, turn, user, device_id, display_name)
                    return True
                if device is None:
                    raise _no_device()
                if display_name is not None and display_name != device.display_name:
                    renamed = device._replace(display_name=display_name)
                    devices.stage_device(turn, user, DeviceId(device_id), renamed)
                    self._sessions.stage_changed(snapshot, turn, user, DeviceId(device_id))
        return False

    async def delete_devices(
        self, requester: Requester, device_ids: Iterable[str], auth: Mapping[str, Any] | None
    ) -> None:
        """Log devices out for good. Those that do not exist are passed over. Raises ``UiaRequired``."""
        wanted = sorted(set(device_ids))
        proof = await self._reauth.require(requester, auth, "delete_devices", {"devices": digest(*wanted).hex()})
        user = requester.user
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                proof.stage_used(snapshot, turn)
                for device_id in wanted:
                    if devices.get_device(snapshot, user, device_id) is not None:
                        self._sessions.stage_closed(snapshot, turn, user, DeviceId(device_id))


def _render(device_id: DeviceId, device: Device) -> dict[str, Any]:
    answer: dict[str, Any] = {"device_id": device_id, "last_seen_ts": device.last_seen_ms}
    if device.display_name is not None:
        answer["display_name"] = device.display_name
    if device.last_seen_ip:
        answer["last_seen_ip"] = device.last_seen_ip
    return answer


def _no_device() -> NotFound:
    return NotFound("You have no device with this id")
