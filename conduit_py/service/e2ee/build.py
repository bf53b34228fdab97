"""Builds the services of end-to-end encryption in dependency order."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.matrix.ids import ServerName
from conduit_py.service.e2ee.cross_signing import CrossSigningService
from conduit_py.service.e2ee.device_lists import DeviceLists
from conduit_py.service.e2ee.key_backup import KeyBackupService
from conduit_py.service.e2ee.keys import Fetches, KeyService
from conduit_py.service.e2ee.removal import DeviceRemoval
from conduit_py.service.e2ee.to_device import ToDeviceService
from conduit_py.service.hub import SyncHub
from conduit_py.service.users.reauth import Reauthentication
from conduit_py.service.users.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class E2ee:
    """The services of one server, for whoever composes it."""

    backup: KeyBackupService
    cross_signing: CrossSigningService
    keys: KeyService
    lists: DeviceLists
    to_device: ToDeviceService


def build_e2ee(
    server_name: ServerName,
    store: Store,
    hub: SyncHub,
    removal: DeviceRemoval,
    reauth: Reauthentication,
    fetches: Fetches,
) -> E2ee:
    """Every service. ``removal`` is made before the account services, which tell it of devices that go away."""
    return E2ee(
        backup=KeyBackupService(store),
        cross_signing=CrossSigningService(store, removal.lists, reauth),
        keys=KeyService(server_name, store, hub, removal, fetches),
        lists=removal.lists,
        to_device=ToDeviceService(server_name, store, hub, removal.in_flight),
    )
