"""Run as a process of its own, to be killed: removes the rooms of a store that are being removed, a few rows at a time.

``python -m tests.service.rooms.removing DIRECTORY`` says ``removing`` when it begins, and ends when it has done.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import trio

from conduit_py.data import closed, room_removal
from conduit_py.data.short_ids import ShortIds
from conduit_py.matrix.ids import RoomId
from conduit_py.service.errors import Forbidden
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.rooms import removal as removals
from conduit_py.service.rooms.removal import RoomRemoval
from conduit_py.service.users.store import Store
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import open_writer
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine

NAMES = [tree.name for tree in CATALOG]


async def refuse(requester: Requester, room_id: RoomId) -> None:
    await trio.lowlevel.checkpoint()
    raise Forbidden("The room is beyond reach")


async def remove_all(directory: Path) -> None:
    with closing(LmdbEngine(directory, NAMES, reserve_bytes=0)) as engine:
        database = Database(engine, ObjectCache(1_000_000))
        with database.snapshot() as snapshot:
            last_pos = snapshot.pos
            waiting = [room_id for room_id, _ in closed.scan_removed(snapshot)]
        async with (
            open_writer(engine, database.cache, last_pos=last_pos, threaded=True) as writer,
            trio.open_nursery() as nursery,
        ):
            store = Store(database=database, writer=writer, locks=KeyedLocks(), ids=ShortIds(), now_ms=lambda: 1)
            removal = RoomRemoval(
                store,
                SyncHub(),
                leave_room=refuse,
                forget_room=lambda room: None,
                is_failing=lambda server_name: True,
                note_unqueued=lambda appservice_id, count: None,
            )
            sys.stdout.write("removing\n")
            sys.stdout.flush()
            nursery.start_soon(removal.run)
            for room_id in waiting:
                await removal.wait_until_removed(room_id)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    removals.GRACE_S = 0.05  # type: ignore[misc]
    removals.PAUSE_S = 0.0  # type: ignore[misc]
    room_removal.SCANNED_MAX, room_removal.REMOVED_MAX = 20, 3
    trio.run(remove_all, Path(sys.argv[1]))
