"""What one message costs to store: rows, bytes of rows, and bytes that LMDB writes to its file for them.

Run with ``python -m bench.send``. Every client sends in a room of its own, so that what they send shares commits, and
rooms share members. The number of bytes hardly depends on what else the machine does, only on how many messages find
themselves in one commit.

Then a room is filled with local users, one by one, which shows whether a join costs more the more are there.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time

import trio

from conduit_py.storage.writer import Writer
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine
from tests.service.sync.world import World, open_world

CLIENTS = (1, 16)
MEMBERS = 20
USERS = 100
WARM_UP, SENDS = 5, 40
"""Messages of each client."""


class Staged:
    """What went into batches."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0

    @contextmanager
    def counting(self, writer: Writer) -> Iterator[None]:
        enqueue = writer._enqueue

        def count(turn: object) -> None:
            batch = turn.batch  # type: ignore[attr-defined]
            self.rows += len(batch.writes)
            self.bytes += batch.bytes_staged
            enqueue(turn)  # type: ignore[arg-type]

        writer._enqueue = count  # type: ignore[method-assign]
        yield
        writer._enqueue = enqueue  # type: ignore[method-assign]


def _bytes_written() -> int:
    """By this process, to any file."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


async def _measure_sends(world: World, clients: int) -> None:
    users = [await world.user(f"user{number}") for number in range(USERS)]
    rooms = []
    for client in range(clients):
        members = [users[(client * 7 + number) % USERS] for number in range(MEMBERS)]
        rooms.append((members, await world.room(members[0])))
        for member in members[1:]:
            await world.membership.join(member, rooms[-1][1])

    async def send(client: int, what: str, count: int) -> None:
        members, room_id = rooms[client]
        for number in range(count):
            await world.send(members[number % MEMBERS], room_id, f"{what} {client} {number}")

    async def send_all(what: str, count: int) -> None:
        async with trio.open_nursery() as nursery:
            for client in range(clients):
                nursery.start_soon(send, client, what, count)

    await send_all("before", WARM_UP)
    staged, writer, sends = Staged(), world.store.writer, clients * SENDS
    groups, written, cpu_s = writer.groups, _bytes_written(), process_time()
    with staged.counting(writer):
        await send_all("measured", SENDS)
    cpu_s, groups = process_time() - cpu_s, writer.groups - groups
    print(
        f"{clients:3} clients, rooms of {MEMBERS}: {staged.rows / sends:5.1f} rows and {staged.bytes / sends:6.0f} "
        f"bytes a message, {(_bytes_written() - written) / sends / 1024:6.0f} KiB written, "
        f"{sends / groups:4.1f} messages a commit, {cpu_s / sends * 1000:5.2f} ms of CPU"
    )


async def _measure_filling(world: World, members: int) -> None:
    owner = await world.user("owner")
    room_id = await world.room(owner)
    users = [await world.user(f"member{number}") for number in range(members)]
    step = max(members // 4, 1)
    for start in range(0, members, step):
        began = perf_counter()
        for user in users[start : start + step]:
            await world.membership.join(user, room_id)
        joined = len(users[start : start + step])
        print(f"joining a room with {start:5} members: {(perf_counter() - began) / joined * 1000:6.2f} ms each")
    began = perf_counter()
    for number in range(20):
        await world.send(owner, room_id, f"hello {number}")
    print(f"a message to {members} members: {(perf_counter() - began) / 20 * 1000:6.2f} ms")


async def _run(clients: int, fill: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = LmdbEngine(Path(folder), [tree.name for tree in CATALOG], reserve_bytes=0)
        async with open_world(engine, threaded=True) as world:
            if clients:
                await _measure_sends(world, clients)
            else:
                await _measure_filling(world, fill)
        engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fill", type=int, default=2000, help="local users that join one room, 0 for none")
    options = parser.parse_args()
    for clients in CLIENTS:
        trio.run(_run, clients, 0)
    if options.fill:
        trio.run(_run, 0, options.fill)


if __name__ == "__main__":
    main()
