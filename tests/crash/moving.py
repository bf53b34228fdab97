"""A server that receives one event, by which thousands of others come to a room: to be killed at any moment of it.

    python -m tests.crash.moving DIRECTORY

It says when it begins, and when the event is stored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import trio

from conduit_py.data.consistency import check_consistency
from conduit_py.data.members import get_member_count, scan_members
from conduit_py.data.rooms import get_room
from conduit_py.data.timeline import find_row
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.service.federation.receive.state_told import lay_out_state
from conduit_py.service.rooms.receive import Arrival
from conduit_py.service.rooms.resolution import ENTRIES_MAX
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database
from kvschema.catalog import CATALOG
from kvschema.catalog.members import JOIN
from kvschema.engine.lmdb import LmdbEngine
from tests.rig.crowd import gather, limit_entries
from tests.rig.rooms import RoomServer, with_rooms
from tests.rig.server import load_test_config, open_server

BEGINS, ENDS = "begins", "ends"
HERE_BEFORE = 2
MEMBERS = 3 * ENTRIES_MAX


def open_engine(directory: Path) -> LmdbEngine:
    return LmdbEngine(directory / "db", [tree.name for tree in CATALOG], reserve_bytes=0)


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[RoomServer]:
    with closing(open_engine(directory)) as engine:
        async with open_server(engine, load_test_config(), threaded=True) as server:
            yield await with_rooms(server)


async def prepare(directory: Path) -> None:
    """A room, and all that the event needs but the event."""
    async with serving(directory) as rooms:
        crowd = await gather(rooms)
        joins = await crowd.store([crowd.loose(crowd.user(number), "join") for number in range(MEMBERS)])
        pdu = crowd.say("They have come")
        arriving = {
            "version": crowd.peer.version.id,
            "pdu": pdu.json,
            "told": [*crowd.state.values(), *joins],
        }
        (directory / "arriving").write_text(json.dumps(arriving))


def read_arriving(directory: Path) -> tuple[Pdu, list[EventId]]:
    """The event, and the state before it as it is told."""
    arriving = json.loads((directory / "arriving").read_text())
    version = ROOM_VERSIONS[arriving["version"]]
    pdu = parse_pdu(arriving["pdu"], version)
    return pdu, arriving["told"]


async def receive(directory: Path) -> None:
    pdu, told = read_arriving(directory)
    async with serving(directory) as rooms:
        with rooms.store.snapshot() as snapshot:
            room = get_room(snapshot, pdu.room_id)
        assert room is not None
        say(BEGINS)
        writes = limit_entries(rooms, ENTRIES_MAX)
        state = await lay_out_state(rooms.store.database, writes, room.short, told)
        await writes.receive(pdu.room_id, [Arrival(pdu=pdu, told=state)])
        say(ENDS)


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def is_received(directory: Path) -> bool:
    """Is the event there? Asserts that it has caused everything then, and nothing otherwise."""
    pdu, _ = read_arriving(directory)
    with closing(open_engine(directory)) as engine, Database(engine, ObjectCache(0)).snapshot() as snapshot:
        assert list(check_consistency(snapshot)) == []
        room = get_room(snapshot, pdu.room_id)
        assert room is not None
        joined = list(scan_members(snapshot, room.short, JOIN))
        found = find_row(snapshot, pdu.event_id)
        assert len(joined) == get_member_count(snapshot, room.short, JOIN)
        assert len(joined) == HERE_BEFORE + (0 if found is None else MEMBERS)
        return found is not None


if __name__ == "__main__":
    trio.run(receive, Path(sys.argv[1]))
