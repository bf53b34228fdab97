"""What other servers tell of their users' devices and keys, and their messages to devices of ours.

Each method takes the content of an EDU of its type and the server it came from, and returns when what follows from it
is on disk. Raises ``Malformed``.

Spec: server-server-api/#device-management, server-server-api/#end-to-end-encryption,
server-server-api/#send-to-device-messaging
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from conduit_py.data import device_keys, devices, remote_lists, short_ids
from conduit_py.data.remote_lists import RemoteList
from conduit_py.matrix.edus import (
    DEVICE_LIST_UPDATE,
    DIRECT_TO_DEVICE,
    SIGNING_KEY_UPDATE,
    DeviceListUpdate,
    parse_device_list_update,
    parse_direct_to_device,
    parse_signing_key_update,
)
from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.matrix.user_keys import parse_device
from conduit_py.service.e2ee.device_lists import DeviceLists
from conduit_py.service.e2ee.refreshing import Refreshing
from conduit_py.service.e2ee.remote_lists import UNKNOWN_VERSION, RemoteLists, list_lock
from conduit_py.service.e2ee.sharing import shares_with_us
from conduit_py.service.e2ee.to_device import ToDeviceService
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.e2ee import REMOTE_DEVICES_PER_USER_MAX
from kvschema.catalog.rooms import ShortUserId, StreamPos

Json = Mapping[str, Any]


class E2eeEdus:
    """One per server."""

    def __init__(
        self, store: Store, lists: DeviceLists, remote: RemoteLists, refreshing: Refreshing, to_device: ToDeviceService
    ) -> None:
        self._store = store
        self._lists = lists
        self._remote = remote
        self._refreshing = refreshing
        self._to_device = to_device

    @property
    def handlers(self) -> dict[str, Callable[[ServerName, Json], Awaitable[None]]]:
        """The methods by the types of EDUs they take."""
        return {
            DEVICE_LIST_UPDATE: self.device_list_update,
            SIGNING_KEY_UPDATE: self.signing_key_update,
            DIRECT_TO_DEVICE: self.direct_to_device,
        }

    async def device_list_update(self, origin: ServerName, content: Json) -> None:
        """A device changed. If the list is held and this is the next change of it, that is applied.

        Otherwise the list is outdated. Lists that are not held are asked for when somebody wants to know; clients
        learn that there is something to know.
        """
        update = parse_device_list_update(content, origin)
        self._refreshing.note_heard(origin)
        self._remote.note_change(origin, update.user_id)
        async with self._store.locks.hold(list_lock(origin)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                held = _get_held(snapshot, origin, update.user_id)
                if held is None:
                    self._stage_not_held(snapshot, turn, update.user_id)
                    return
                if held[1].stream_id == update.stream_id:
                    return
                user, row = held
                if not _follows(snapshot, user, row, update) or not _stage_device(snapshot, turn, user, update):
                    self._remote.stage_outdated(turn, origin, user)
                    return
                row = RemoteList(update.stream_id, StreamPos(snapshot.pos))
                remote_lists.stage_list(turn, origin, user, row)
                self._lists.stage_remote_changed(snapshot, turn, user)

    async def signing_key_update(self, origin: ServerName, content: Json) -> None:
        """Cross-signing keys changed. Which they are now is asked for: these updates do not say what they follow."""
        update = parse_signing_key_update(content, origin)
        self._refreshing.note_heard(origin)
        self._remote.note_change(origin, update.user_id)
        async with self._store.locks.hold(list_lock(origin)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                held = _get_held(snapshot, origin, update.user_id)
                if held is not None:
                    self._remote.stage_outdated(turn, origin, held[0])
                else:
                    self._stage_not_held(snapshot, turn, update.user_id)

    def _stage_not_held(self, snapshot: Snapshot, turn: Turn, user_id: UserId) -> None:
        """Clients that share a room with the user are told. A list that is outdated is asked for, and tells by itself.

        Spec: client-server-api/#tracking-the-device-list-for-a-user
        """
        user = short_ids.get_user(snapshot, user_id)
        if user is not None and remote_lists.get_list(snapshot, user) is None and shares_with_us(snapshot, user):
            self._lists.stage_remote_changed(snapshot, turn, user)

    async def direct_to_device(self, origin: ServerName, content: Json) -> None:
        """Messages to devices. Those of this server that there are get theirs, once."""
        await self._to_device.receive(parse_direct_to_device(content, origin))


def _get_held(snapshot: Snapshot, server_name: ServerName, user_id: UserId) -> tuple[ShortUserId, RemoteList] | None:
    """The list of a user, None if there is none or it is outdated already."""
    user = short_ids.get_user(snapshot, user_id)
    row = None if user is None else remote_lists.get_list(snapshot, user)
    if user is None or row is None or remote_lists.is_outdated(snapshot, server_name, user):
        return None
    return user, row


def _follows(snapshot: Snapshot, user: ShortUserId, row: RemoteList, update: DeviceListUpdate) -> bool:
    """Is this the next change after what is held?"""
    return (
        row.stream_id != UNKNOWN_VERSION
        and bool(update.prev_id)
        and all(previous == row.stream_id for previous in update.prev_id)
        and shares_with_us(snapshot, user, since=row.pos)
    )


def _stage_device(snapshot: Snapshot, turn: Turn, user: ShortUserId, update: DeviceListUpdate) -> bool:
    """Put the device in place of what is held of it. False if that cannot be."""
    if update.deleted or update.keys is None:
        device_keys.stage_removed(turn, user, update.device_id)
        return True
    keys = parse_device(update.keys, update.user_id, update.device_id, update.device_display_name)
    if keys is None or not devices.is_storable(update.device_id):
        return False
    if sum(1 for _ in device_keys.scan_keys(snapshot, user)) >= REMOTE_DEVICES_PER_USER_MAX:
        return False
    device_keys.stage_keys(turn, user, update.device_id, keys)
    return True
