"""Run as a process of its own: several tasks that write until they are killed, and say what they were told landed.

``LIVE_DIRECTORY TASKS COMMITS [nosync|nometasync]``. Every turn takes one position and writes it to several trees, so
that a batch that is not whole shows. A position is acknowledged on standard output and in a file beside the store.
``nosync`` and ``nometasync`` leave out what makes a commit durable.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import trio

from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, record_start, stamp
from conduit_py.storage.writer import Turn, Writer, open_writer
from kvschema.catalog import CATALOG, rooms, server, state
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.pins import CopyPromise
from kvschema.engine.stamp import MARK_CHARS

START = 1000
ACKS = "acks"
UNSAFE: dict[str, dict[str, Any]] = {"nosync": {"sync": False, "metasync": False}, "nometasync": {"metasync": False}}


def opened(live: Path) -> Database:
    names = [tree.name for tree in CATALOG]
    copies = CopyPromise(
        seconds=60,
        growth_bytes=1 << 30,
        clock=time.monotonic,
        random_mark=lambda: secrets.token_hex(MARK_CHARS // 2),
    )
    engine = LmdbEngine(live / "db", names, map_bytes=1 << 20, reserve_bytes=1 << 20, copies=copies)
    stamp(engine, "one.test")
    return Database(engine, ObjectCache(1))


def stage(turn: Turn) -> int:
    pos = turn.take_pos()
    turn.batch.put(rooms.SHORTUSERID_USERID, rooms.ByShort(pos), f"@{pos}:one.test")
    turn.batch.put(rooms.USERID_SHORTUSERID, rooms.ByUserId(f"@{pos}:one.test"), pos)
    turn.batch.put(state.STATEID_STATEDIFF, state.ByState(rooms.StateId(pos)), bytes([pos % 256]) * (pos * 97 % 6000))
    turn.batch.put(server.GLOBAL, server.ByName(f"slot {pos % 50}"), str(pos).encode())
    return pos


async def send(writer: Writer, commits: int, acks: int) -> None:
    for _ in range(commits):
        async with writer.turn() as turn:
            pos = stage(turn)
        for descriptor in (acks, sys.stdout.fileno()):
            os.write(descriptor, b"%d\n" % pos)


async def main(live: Path, tasks: int, commits: int) -> None:
    database = opened(live)
    acks = os.open(live / ACKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with closing(database.engine):
        last_pos = record_start(database.engine, START)
        async with (
            open_writer(database.engine, database.cache, last_pos=last_pos, threaded=True) as writer,
            trio.open_nursery() as nursery,
        ):
            for _ in range(tasks):
                nursery.start_soon(send, writer, commits, acks)


def complaints(live: Path, acknowledged: int) -> list[str]:
    """What is wrong with the store after the power came back. ``acknowledged`` is the last position told."""
    database = opened(live)
    with closing(database.engine), database.snapshot() as snapshot:
        found = [key.short for key in rooms.SHORTUSERID_USERID.scan_keys(snapshot)]
        reverse = sorted(pos for _, pos in rooms.USERID_SHORTUSERID.scan(snapshot))
        bodies = {key.state: body for key, body in state.STATEID_STATEDIFF.scan(snapshot)}
        slots = sorted(int(value) for key, value in server.GLOBAL.scan(snapshot) if key.name.startswith("slot "))
        last = found[-1] if found else 0
        checks = {
            f"{acknowledged} was acknowledged and is not there": last < acknowledged,
            "a batch is missing before one that is there": found != list(range(START + 1, last + 1)),
            "a batch is not whole": not found == reverse == sorted(bodies) or slots != found[-50:],
            "a body is not what was written": any(
                body != bytes([pos % 256]) * (pos * 97 % 6000) for pos, body in bodies.items()
            ),
            f"the position is {snapshot.pos} and the last batch is {last}": snapshot.pos != last,
        }
    return [complaint for complaint, is_so in checks.items() if is_so]


if __name__ == "__main__":
    _, directory, task_count, commit_count, *unsafe = sys.argv
    if unsafe:
        setattr(lmdb, "open", partial(lmdb.open, **UNSAFE[unsafe[0]]))  # noqa: B010 - it is a class to mypy
    trio.run(main, Path(directory), int(task_count), int(commit_count))
