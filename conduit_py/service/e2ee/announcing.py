"""Tells other servers which keys of local users changed.

A change is noted in its own batch; the task here puts what is to be told of it into the queues of the servers that
share a room with the user then. What it tells is what is stored when it tells it, so several changes of one device at
the same time are one EDU, and nothing can be told that is no longer true.

The updates about one user form a chain: each names the one before it, whoever was told of that one. A server that
misses a link asks for the whole list. So does one that is met anew when the user joins a room.

Spec: server-server-api/#device-management
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any, Final

import trio

from conduit_py.data import announcements, device_keys, devices, short_ids, users
from conduit_py.log import get_logger
from conduit_py.matrix.edus import (
    DeviceListUpdate,
    SigningKeyUpdate,
    build_device_list_update,
    build_signing_key_update,
)
from conduit_py.matrix.ids import DeviceId, UserId
from conduit_py.service.bell import Bell
from conduit_py.service.e2ee.answers import read_cross_signing, render_device
from conduit_py.service.e2ee.device_lists import CROSS_SIGNING
from conduit_py.service.e2ee.outbox import EduOutbox
from conduit_py.service.e2ee.sharing import scan_servers
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortRoomId, ShortUserId
from kvschema.errors import StorageFull

_log = get_logger(__name__)

CHANGES_PER_BATCH: Final = 20
"""A change is told to as many servers as share a room with the user."""
USERS_PER_BATCH: Final = 100
FULL_PAUSE_S: Final = 30.0


class Announcing:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self, store: Store, outbox: EduOutbox, has_announcements: Bell) -> None:
        self._store = store
        self._outbox = outbox
        self._bell = has_announcements

    async def run(self) -> None:
        """Announce for as long as the server runs, first what was left of the last run."""
        while True:
            try:
                while await self._announce_some():
                    pass
            except StorageFull:
                _log.warning("there is no room to tell other servers of changed keys: trying again later")
                await trio.sleep(FULL_PAUSE_S)
                continue
            await self._bell.wait()

    async def _announce_some(self) -> bool:
        """False when nothing is left."""
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                rows = list(islice(announcements.scan_announcements(snapshot), CHANGES_PER_BATCH))
                changed: dict[ShortUserId, dict[str, None]] = {}
                joined: dict[ShortUserId, set[ShortRoomId]] = {}
                for pos, row in rows:
                    announcements.stage_announced(turn, pos)
                    if row.room:
                        joined.setdefault(row.user, set()).add(row.room)
                    else:
                        changed.setdefault(row.user, {})[row.device_id] = None
                for user, whats in changed.items():
                    self._stage_user(snapshot, turn, user, whats)
                for user, rooms in joined.items():
                    if user not in changed:
                        self._stage_joined(snapshot, turn, user, rooms)
        return bool(rows)

    def _stage_joined(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, rooms: Collection[ShortRoomId]) -> None:
        """Tell servers that the user was not met at until now: what they may know is from another time.

        An update that follows no other makes them ask for the whole list, if they hold one.
        """
        known = scan_servers(snapshot, user, without=rooms)
        met = scan_servers(snapshot, user) - known
        device_id = next((device_id for device_id, _ in device_keys.scan_keys(snapshot, user)), None)
        if not met or device_id is None:
            return
        user_id = short_ids.get_user_id(snapshot, user)
        stream_id = announcements.get_stream_id(snapshot, user)
        if not stream_id:
            stream_id = turn.take_pos()
            announcements.stage_stream_id(turn, user, stream_id)
        edu = _build_device_list_update(snapshot, user, user_id, device_id, stream_id, previous=0)
        self._outbox.stage_edu(snapshot, turn, sorted(met), edu)

    def _stage_user(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, whats: Iterable[str]) -> None:
        user_id = short_ids.get_user_id(snapshot, user)
        destinations = sorted(scan_servers(snapshot, user))
        stream_id = announcements.get_stream_id(snapshot, user)
        for what in whats:
            if what == CROSS_SIGNING:
                edu = _build_signing_key_update(snapshot, user, user_id)
            else:
                previous, stream_id = stream_id, turn.take_pos()
                edu = _build_device_list_update(snapshot, user, user_id, DeviceId(what), stream_id, previous)
            self._outbox.stage_edu(snapshot, turn, destinations, edu)
        announcements.stage_stream_id(turn, user, stream_id)


async def announce_all(store: Store) -> None:
    """Have every server that knows a local user's devices ask for all of them again, once ``run`` comes to it.

    For a copy of the data that was put back: what was announced since it was made is not true, or not known here.
    """
    with store.snapshot() as snapshot:
        accounts = [user for _, user, _ in users.scan_accounts(snapshot)]
    for start in range(0, len(accounts), USERS_PER_BATCH):
        async with store.writer.turn(may_use_reserve=True) as turn:
            with store.snapshot() as snapshot:
                for user in accounts[start : start + USERS_PER_BATCH]:
                    device_id = next((device_id for device_id, _ in devices.scan_devices(snapshot, user)), None)
                    announcements.stage_stream_forgotten(turn, user)
                    if device_id is not None:
                        announcements.stage_announcement(turn, user, device_id)


def _build_device_list_update(
    snapshot: Snapshot, user: ShortUserId, user_id: UserId, device_id: DeviceId, stream_id: int, previous: int
) -> dict[str, Any]:
    keys = device_keys.get_keys(snapshot, user, device_id)
    device = devices.get_device(snapshot, user, device_id)
    return build_device_list_update(
        DeviceListUpdate(
            user_id=user_id,
            device_id=device_id,
            stream_id=stream_id,
            prev_id=(previous,) if previous else (),
            deleted=keys is None,
            device_display_name=None if keys is None or device is None else device.display_name,
            keys=None if keys is None else _without_name(render_device(snapshot, user, user_id, device_id, keys)),
        )
    )


def _without_name(keys: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in keys.items() if name != "unsigned"}


def _build_signing_key_update(snapshot: Snapshot, user: ShortUserId, user_id: UserId) -> dict[str, Any]:
    master, self_signing = read_cross_signing(snapshot, user, user_id)
    return build_signing_key_update(SigningKeyUpdate(user_id=user_id, master_key=master, self_signing_key=self_signing))
