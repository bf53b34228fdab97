"""How a server with much in its store starts: time to the first answer, and memory.

    python -m bench.large [--events 100000] [--rooms 200] [--keep DIRECTORY]

The store is filled once, in the process of the script, and kept in ``--keep`` for the next time if that is given. Then
our server is started on it, three times, with all its defaults. Memory is read after the first answer, and again after
a new account has joined ten of the rooms, has synced, and has read a page of each.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import orjson
import trio

from bench.driver.process import read_memory, read_usage
from bench.driver.scene import CLIENT, register
from bench.driver.wire import Connection, DriverError, encode_request, path_part
from bench.servers import Running, default_cache, prepare_server
from conduit_py.data import rooms
from conduit_py.matrix.ids import RoomId
from conduit_py.service.requester import Requester
from conduit_py.storage.database import DATA_FILE, DIRECTORY
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.ownership import claim
from kvschema.engine.stamp import MARK_CHARS
from tests.service.sync.world import SERVER_NAME, World, open_world

MEMBERS: Final = 20
EVENTS_PER_TURN: Final = 200
STARTS: Final = 3
ROOMS_READ: Final = 10
START_S_MAX: Final = 1.0
MEMORY_MIB_MAX: Final = 120.0


async def fill(data: Path, events: int, room_count: int) -> list[RoomId]:
    """A store with so many messages, evenly in so many rooms."""
    (data / DIRECTORY).mkdir(parents=True)
    engine = LmdbEngine(data / DIRECTORY, [tree.name for tree in CATALOG])
    try:
        async with open_world(engine) as world:
            people = [await world.user(f"user{number}") for number in range(MEMBERS)]
            room_ids = []
            for number in range(room_count):
                room_ids.append(await world.room(people[0], name=f"room {number}"))
                for user in people[1:]:
                    await world.membership.join(user, room_ids[-1])
                await _talk(world, people, room_ids[-1], events // room_count)
                if number % 10 == 9:
                    print(f"  {number + 1} rooms are filled", file=sys.stderr, flush=True)
    finally:
        engine.close()
    # It was not made by a server: without this, it would be taken for a copy, and verified first.
    claim(data / DIRECTORY / DATA_FILE, secrets.token_hex(MARK_CHARS // 2))
    return room_ids


async def _talk(world: World, people: list[Requester], room_id: RoomId, count: int) -> None:
    """Many messages in one commit."""
    for start in range(0, count, EVENTS_PER_TURN):
        async with world.store.writer.turn() as turn:
            with world.store.snapshot() as snapshot:
                room = rooms.get_room(snapshot, room_id)
                assert room is not None
                append = world.writes.append.begin(snapshot, turn, room)
                for number in range(start, min(start + EVENTS_PER_TURN, count)):
                    content = {"msgtype": "m.text", "body": f"message {number}: shall we meet at ten, or rather later?"}
                    sender = people[number % MEMBERS].user_id
                    append.append(append.create_event(sender=sender, type="m.room.message", content=content))
                append.finish()


def use(running: Running, room_ids: list[str]) -> None:
    with Connection(running.address) as connection:
        token = register(connection, "reader").token
        for room_id in room_ids[:ROOMS_READ]:
            connection.call("POST", f"{CLIENT}/join/{path_part(room_id)}", {}, token=token)
            connection.call("GET", f"{CLIENT}/rooms/{path_part(room_id)}/messages?dir=b&limit=100", token=token)
        connection.exchange(encode_request("GET", f"{CLIENT}/sync?timeout=0", token=token)).object()


def measure(directory: Path) -> bool:
    """Whether everything stays below its limit."""
    server = prepare_server("ours", default_cache())
    room_ids = orjson.loads((directory / "rooms.json").read_bytes())
    is_right = True
    for number in range(STARTS):
        with server.start(directory, {"server_name": SERVER_NAME}) as running:
            pid = running.gauges.pid
            assert pid is not None
            cpu_s, started = read_usage(pid).cpu_s, read_memory(pid).rss_anon
            if number == 0 and not (directory / "used").exists():
                use(running, room_ids)
                (directory / "used").touch()
            used = read_memory(pid).rss_anon
        print(
            f"first answer after {running.start_s:5.2f} s and {cpu_s:5.2f} s of CPU time, "
            f"RssAnon {started:5.1f} MiB, after use {used:5.1f} MiB"
        )
        is_right = is_right and running.start_s < START_S_MAX and used < MEMORY_MIB_MAX
    return is_right


def main() -> None:
    parser = argparse.ArgumentParser(description="Start a server with much in its store.")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rooms", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="where the store is kept, made if it is not there")
    options = parser.parse_args()
    kept = nullcontext(str(options.keep)) if options.keep else tempfile.TemporaryDirectory(prefix="conduit_py-large-")
    try:
        with kept as name:
            directory = Path(name)
            if not (directory / "rooms.json").exists():
                room_ids = trio.run(fill, directory / "data", options.events, options.rooms)
                (directory / "rooms.json").write_bytes(orjson.dumps(room_ids))
            is_right = measure(directory)
    except (DriverError, OSError) as error:
        sys.exit(f"bench: {error}")
    print("within the limits" if is_right else f"beyond {START_S_MAX} s or {MEMORY_MIB_MAX} MiB")
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
