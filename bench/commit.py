"""Durable commits in a second, at several numbers of concurrent callers, and how many shared an fsync.

``python -m bench.commit [--seconds S] [--directory DIRECTORY]``. Measure on the kind of disk that the server will have.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import closing
from pathlib import Path

import trio

from conduit_py.storage.database import Database, open_database, record_start
from conduit_py.storage.writer import Turn, Writer, open_writer
from kvschema.catalog import rooms, timeline

CONCURRENCY = (1, 16, 256)
BODY = bytes(1000)


def stage(turn: Turn, room: int) -> None:
    """About what one event stages."""
    pos = turn.take_pos()
    short_room, event = rooms.ShortRoomId(room), rooms.ShortEventId(pos)
    row = timeline.EventRow(
        0, short_room, pos, rooms.StateId(1), rooms.ShortEventId(0), rooms.ShortEventId(0), f"${pos}", BODY, b""
    )
    turn.batch.put(timeline.SHORTEVENTID_PDU, timeline.ByShortEvent(event), row)
    turn.batch.put(timeline.EVENTID_SHORTEVENTID, timeline.ByEventId(f"${pos}"), event)
    turn.batch.put(timeline.PDUID_SHORTEVENTID, timeline.PduId(short_room, pos), event)
    turn.batch.put(rooms.ROOMID_PDULEAVES, rooms.ByRoomEvent(short_room, event), None)
    turn.batch.delete(rooms.ROOMID_PDULEAVES, rooms.ByRoomEvent(short_room, rooms.ShortEventId(pos - 1)))


async def measure(database: Database, callers: int, seconds: float) -> None:
    waits: list[float] = []

    async def send(writer: Writer, room: int) -> None:
        while trio.current_time() < until:
            began = trio.current_time()
            async with writer.turn() as turn:
                stage(turn, room)
            waits.append(trio.current_time() - began)

    last_pos = record_start(database.engine, 1_700_000_000_000_000)
    async with open_writer(database.engine, database.cache, last_pos=last_pos, threaded=True) as writer:
        began = trio.current_time()
        until = began + seconds
        async with trio.open_nursery() as nursery:
            for room in range(callers):
                nursery.start_soon(send, writer, room)
        took = trio.current_time() - began
    waits.sort()
    p50, p99 = (waits[int(len(waits) * share)] * 1000 for share in (0.5, 0.99))
    print(
        f"{callers:4} callers: {writer.commits / took:7.0f} commits/s in {writer.groups / took:6.0f} groups/s "
        f"({writer.commits / writer.groups:5.1f} each), p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--directory", type=Path, help="where to make the store (default: a temporary directory)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        database = open_database(Path(directory), "bench.test", cache_bytes=1, reserve_bytes=8 << 20)
        with closing(database.engine):
            for callers in CONCURRENCY:
                trio.run(measure, database, callers, options.seconds)


if __name__ == "__main__":
    main()
