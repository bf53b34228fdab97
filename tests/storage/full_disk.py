"""Run as a process of its own: a store on a disk that becomes full, from the first refusal to recovery.

``limit DIRECTORY`` limits the size of files; ``mount DIRECTORY`` mounts a small tmpfs there, in a mount namespace that
the caller has made.
"""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import trio

from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, record_start, stamp
from conduit_py.storage.writer import Writer, open_writer
from kvschema.catalog import CATALOG, server
from kvschema.engine.lmdb import LmdbEngine
from kvschema.errors import StorageFull
from tests.storage.engines import put

MIB = 1 << 20
SIZE = 8 * MIB
NAMES = [tree.name for tree in CATALOG]
ROW_BYTES = 50_000


def opened(path: Path) -> Database:
    engine = LmdbEngine(path / "db", NAMES, map_bytes=MIB, reserve_bytes=2 * MIB)
    stamp(engine, "one.test")
    return Database(engine, ObjectCache(1))


async def write(writer: Writer, name: str) -> bool:
    """Write a row and a position. False where there was no room."""
    try:
        async with writer.turn() as turn:
            put(turn, name, bytes(ROW_BYTES))
            turn.take_pos()
    except StorageFull:
        return False
    return True


async def delete(writer: Writer, name: str) -> None:
    async with writer.turn(may_use_reserve=True) as turn:
        turn.batch.delete(server.GLOBAL, server.ByName(name))


def rows(database: Database) -> list[str]:
    with database.snapshot() as snapshot:
        found = [key.name for key, _ in server.GLOBAL.scan(snapshot)]
    return [name for name in found if name.startswith("row")]


async def fill(writer: Writer, database: Database) -> int:
    landed = 0
    while await write(writer, f"row {landed:04}"):
        landed += 1
    assert landed > 20, f"only {landed} rows fitted"
    assert len(rows(database)) == landed, "reads go on, and what was refused is not there"
    return landed


async def first_run(path: Path) -> int:
    database = opened(path)
    with closing(database.engine):
        last_pos = record_start(database.engine, 1)
        async with open_writer(database.engine, database.cache, last_pos=last_pos, threaded=True) as writer:
            landed = await fill(writer, database)
            assert writer.is_full
            assert not await write(writer, "row refused")
            await delete(writer, "row 0000")
            assert not await write(writer, "row refused")
    return landed - 1


async def second_run(path: Path, landed: int) -> int:
    """Opens while it is full, deletes every other row singly, and then there is room again."""
    database = opened(path)
    with closing(database.engine):
        assert len(rows(database)) == landed
        last_pos = record_start(database.engine, 10**15)
        async with open_writer(database.engine, database.cache, last_pos=last_pos, threaded=True) as writer:
            refill = 0
            while await write(writer, f"row refilled {refill}"):
                refill += 1
            assert refill <= 2, "only the row deleted before left any room"
            held = rows(database)
            for name in held[: len(held) * 3 // 4]:
                await delete(writer, name)
            assert await write(writer, "row again"), "rows were deleted and there is no room still"
            assert not writer.is_full
            landed = len(held) - len(held) * 3 // 4 + 1
            assert len(rows(database)) == landed
            while await write(writer, f"row more {landed:04}"):
                landed += 1
    return landed


async def third_run(path: Path, landed: int, make_room: Callable[[], None]) -> None:
    """The disk gets more room while the server runs."""
    database = opened(path)
    with closing(database.engine):
        async with open_writer(database.engine, database.cache, last_pos=10**15, threaded=True) as writer:
            while await write(writer, f"row third {landed:04}"):
                landed += 1
            assert writer.is_full
            make_room()
            for number in range(100):
                assert await write(writer, f"row last {number:04}")
            assert len(rows(database)) == landed + 100


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def mount(directory: str, size: int) -> None:
    remount = "remount," if Path(directory).is_mount() else ""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{remount}size={size}", "none", directory], check=True)


def main(kind: str, directory: str) -> None:
    logging.disable()
    path = Path(directory)
    set_size = limit if kind == "limit" else partial(mount, directory)
    set_size(SIZE)
    landed = trio.run(first_run, path)
    landed = trio.run(second_run, path, landed)
    trio.run(third_run, path, landed, partial(set_size, 4 * SIZE))


if __name__ == "__main__":
    main(*sys.argv[1:])
