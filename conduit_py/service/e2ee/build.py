"""Builds the services of end-to-end encryption in dependency order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from conduit_py.data import announcements
from conduit_py.matrix.ids import ServerName
from conduit_py.service.bell import Bell
from conduit_py.service.e2ee.announcing import Announcing
from conduit_py.service.e2ee.cross_signing import CrossSigningService
from conduit_py.service.e2ee.dehydrated import DehydratedDevices
from conduit_py.service.e2ee.device_lists import DeviceLists
from conduit_py.service.e2ee.edus import E2eeEdus
from conduit_py.service.e2ee.for_servers import KeysForServers
from conduit_py.service.e2ee.key_backup import KeyBackupService
from conduit_py.service.e2ee.keys import KeyService
from conduit_py.service.e2ee.outbox import EduOutbox
from conduit_py.service.e2ee.refreshing import Refreshing
from conduit_py.service.e2ee.remote import KeySource
from conduit_py.service.e2ee.remote_lists import RemoteLists
from conduit_py.service.e2ee.removal import DeviceRemoval
from conduit_py.service.e2ee.to_device import ToDeviceService
from conduit_py.service.hub import SyncHub
from conduit_py.service.users.build import Accounts
from conduit_py.service.users.store import Store
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortRoomId, ShortUserId


@dataclass(frozen=True, slots=True, kw_only=True)
class E2ee:
    """The services of one server, for whoever composes it."""

    backup: KeyBackupService
    cross_signing: CrossSigningService
    dehydrated: DehydratedDevices
    edus: E2eeEdus
    for_servers: KeysForServers
    keys: KeyService
    lists: DeviceLists
    to_device: ToDeviceService
    tasks: tuple[Callable[[], Awaitable[None]], ...]
    """Each belongs into the nursery tree."""


class OtherServers:
    """How they are reached: asked through ``source``, told through ``outbox`` unless they are told nothing."""

    def __init__(self, *, source: KeySource, outbox: EduOutbox | None) -> None:
        self.source = source
        self.outbox = outbox
        self.has_announcements = None if outbox is None else Bell()

    def stage_joined(self, turn: Turn, user: ShortUserId, room: ShortRoomId) -> None:
        """A local user joined a room: servers that are met there are told of the user's devices."""
        if self.has_announcements is not None:
            announcements.stage_joined(turn, user, room)
            turn.on_landed(self.has_announcements.ring)


def build_e2ee(
    server_name: ServerName,
    store: Store,
    hub: SyncHub,
    removal: DeviceRemoval,
    accounts: Accounts,
    others: OtherServers,
) -> E2ee:
    """Every service. ``removal`` is made before the account services, which tell it of devices that go away."""
    remote = RemoteLists(store, removal.lists, others.source)
    refreshing = Refreshing(store, remote, others.source)
    keys = KeyService(server_name, store, hub, removal, remote, others.source)
    to_device = ToDeviceService(server_name, store, hub, removal.in_flight, others.outbox)
    announcing: tuple[Callable[[], Awaitable[None]], ...] = ()
    if others.outbox is not None and others.has_announcements is not None:
        announcing = (Announcing(store, others.outbox, others.has_announcements).run,)
    return E2ee(
        backup=KeyBackupService(store),
        cross_signing=CrossSigningService(store, removal.lists, accounts.reauth),
        dehydrated=DehydratedDevices(store, keys, accounts.sessions),
        edus=E2eeEdus(store, removal.lists, remote, refreshing, to_device),
        for_servers=KeysForServers(server_name, store, keys),
        keys=keys,
        lists=removal.lists,
        to_device=to_device,
        tasks=(refreshing.run, *announcing),
    )
