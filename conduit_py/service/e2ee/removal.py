"""What is kept of a device goes with it: keys, signatures about them, messages that wait.

Spec: client-server-api/#relationship-between-access-tokens-and-devices
"""

from __future__ import annotations

from conduit_py.data import cross_signing, dehydrated, device_keys, one_time_keys, to_device
from conduit_py.matrix.device_keys import public_key_of
from conduit_py.matrix.ids import DeviceId
from conduit_py.service.e2ee.device_lists import DeviceLists
from conduit_py.service.e2ee.in_flight import InFlight
from conduit_py.service.errors import InvalidParam
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortUserId

_USAGES = (cross_signing.MASTER, cross_signing.SELF_SIGNING, cross_signing.USER_SIGNING)


class DeviceRemoval:
    """Observes devices. One per server."""

    def __init__(self, lists: DeviceLists) -> None:
        self.lists = lists
        self.in_flight = InFlight()

    def stage_changed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
        """A device was made or renamed: its name is told with its keys.

        Raises ``InvalidParam`` for the id of a cross-signing key, which shares a namespace with those of devices.

        Spec: client-server-api/#cross-signing
        """
        if device_keys.get_keys(snapshot, user, device_id) is not None:
            self.lists.stage_changed(snapshot, turn, user, device_id)
            return
        keys = (cross_signing.get_key(snapshot, user, usage) for usage in _USAGES)
        if any(key is not None and public_key_of(key) == device_id for key in keys):
            raise InvalidParam("A device must not have the id of a cross-signing key")

    def stage_removed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
        """A device is going away."""
        one_time_keys.stage_device_removed(snapshot, turn, user, device_id)
        to_device.stage_device_removed(snapshot, turn, user, device_id)
        self.in_flight.stage_removed(turn, user, device_id)
        asleep = dehydrated.get_dehydrated(snapshot, user)
        if asleep is not None and asleep.device_id == device_id:
            dehydrated.stage_removed(turn, user)
        if device_keys.get_keys(snapshot, user, device_id) is not None:
            device_keys.stage_removed(turn, user, device_id)
            cross_signing.stage_signatures_removed(snapshot, turn, user, user, target=device_id)
            cross_signing.stage_signatures_removed(snapshot, turn, user, user, by=f"ed25519:{device_id}")
            self.lists.stage_changed(snapshot, turn, user, device_id)
