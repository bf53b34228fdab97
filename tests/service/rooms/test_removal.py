"""Removing a room: everything about it goes, wherever the removal is cut off, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from conduit_py.data import room_removal, short_ids
from conduit_py.data.closed import get_removed
from conduit_py.data.consistency import check_consistency
from conduit_py.data.short_ids import ShortIds
from conduit_py.matrix.ids import RoomId
from conduit_py.service.errors import NotFound
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.removal import LeaveRoom, RoomRemoval
from conduit_py.service.users.store import Store
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import DATA_FILE, Database
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import open_writer
from kvschema.catalog import members, rooms, timeline
from kvschema.catalog.admin import ADMINCOMMAND
from kvschema.catalog.server import GLOBAL
from kvschema.engine import Engine
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.lmdb_file import open_file
from kvschema.engine.memory import MemoryEngine
from kvschema.errors import StorageFull
from tests.data.full_store import Rows, fill, make_rows, read_rows
from tests.service.rooms.removing import NAMES, refuse

TOLD_ELSEWHERE = {members.USERPOS_FAREWELL.name}
"""Trees that may go on to name a room that was removed."""


@pytest.fixture(scope="module")
def rows() -> Rows:
    """The full store, but that none of its rooms is the Admin Room, which stays."""
    rows = make_rows()
    facts = [row for row in rows[GLOBAL.name] if not row[0].startswith(b"admin_room")]
    return {**rows, GLOBAL.name: facts, ADMINCOMMAND.name: []}


@pytest.fixture
def engine(rows: Rows) -> Engine:
    engine = MemoryEngine()
    fill(engine, rows)
    return engine


unqueued: list[tuple[str, int]] = []
"""What the last removal that was opened said of application services."""


@asynccontextmanager
async def open_removal(engine: Engine, leave_room: LeaveRoom = refuse) -> AsyncIterator[tuple[RoomRemoval, Store]]:
    """One over what is stored."""
    unqueued.clear()
    database = Database(engine, ObjectCache(1_000_000))
    with database.snapshot() as snapshot:
        last_pos = snapshot.pos + 1_000_000

    async with open_writer(engine, database.cache, last_pos=last_pos, threaded=False) as writer:
        store = Store(database=database, writer=writer, locks=KeyedLocks(), ids=ShortIds(), now_ms=lambda: 1)
        yield (
            RoomRemoval(
                store,
                SyncHub(),
                leave_room=leave_room,
                forget_room=lambda room: None,
                is_failing=lambda server_name: True,
                note_unqueued=lambda appservice_id, count: unqueued.append((appservice_id, count)),
            ),
            store,
        )


def get_rooms(engine: Engine) -> list[RoomId]:
    with engine.snapshot() as reader:
        return [RoomId(key.room_id) for key in rooms.ROOMID_SHORTROOMID.scan_keys(reader)]


def find_traces(engine: Engine, room_id: RoomId) -> list[bytes]:
    """Every way in which a row can name the room or one of its events."""
    with engine.snapshot() as reader:
        room = rooms.ROOMID_SHORTROOMID.get(reader, rooms.ByRoomId(room_id))
        assert room is not None
        events = [(key.event, row.event_id) for key, row in timeline.SHORTEVENTID_PDU.scan(reader) if row.room == room]
    assert len(events) > 30
    shorts = [room, *(event for event, _ in events)]
    ids = [room_id, *(event_id for _, event_id in events)]
    return [*(short.to_bytes(8, "big") for short in shorts), *(id_.encode() for id_ in ids)]


def scan_naming(stored: Rows, traces: list[bytes]) -> Iterator[str]:
    for tree, pairs in stored.items():
        for key, value in pairs:
            if any(trace in key or trace in value for trace in traces):
                yield tree


def check(engine: Engine) -> list[str]:
    with Database(engine, ObjectCache(1_000_000)).snapshot() as snapshot:
        return list(check_consistency(snapshot))


async def run_to_end(engine: Engine, room_id: RoomId) -> None:
    async with open_removal(engine) as (removal, store), trio.open_nursery() as nursery:
        nursery.start_soon(removal.run)
        await removal.wait_until_removed(room_id)
        with store.snapshot() as snapshot:
            assert get_removed(snapshot, room_id) is None
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [0, 1])
async def test_nothing_names_the_room_any_more(engine: Engine, number: int, autojump_clock: MockClock) -> None:
    room_id = get_rooms(engine)[number]
    traces, before = find_traces(engine, room_id), read_rows(engine)
    named_before = set(scan_naming(before, traces))
    async with open_removal(engine) as (removal, _):
        assert await removal.begin(room_id)
        assert not await removal.begin(room_id)
    await run_to_end(engine, room_id)
    after = read_rows(engine)
    assert set(scan_naming(after, traces)) <= TOLD_ELSEWHERE
    assert check(engine) == []
    assert unqueued == [("irc", 1)]
    assert len(named_before) > 35
    others = get_rooms(engine)
    assert len(others) == 2
    for other in others:
        traces = find_traces(engine, other)
        assert list(scan_naming(after, traces)) == list(scan_naming(before, traces))


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.4, 120.7, 121.0, 121.4])
async def test_removal_goes_on_wherever_it_was_cut_off(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, after_s: float, autojump_clock: MockClock
) -> None:
    """The store agrees with itself at every moment, with what is left of the room passed over."""
    monkeypatch.setattr(room_removal, "SCANNED_MAX", 20)
    monkeypatch.setattr(room_removal, "REMOVED_MAX", 3)
    room_id = get_rooms(engine)[1]
    traces = find_traces(engine, room_id)
    async with open_removal(engine) as (removal, _):
        await removal.begin(room_id)
        with trio.move_on_after(after_s):
            await removal.run()
    assert check(engine) == []
    await run_to_end(engine, room_id)
    assert set(scan_naming(read_rows(engine), traces)) <= TOLD_ELSEWHERE
    assert check(engine) == []


async def test_room_that_nobody_knows_is_not_removed(engine: Engine) -> None:
    before = read_rows(engine)
    async with open_removal(engine) as (removal, _):
        with pytest.raises(NotFound, match="no room"):
            await removal.begin(RoomId("!nowhere:one.test"))
    assert read_rows(engine) == before


async def test_full_disk_keeps_nobody_in_the_room(engine: Engine, autojump_clock: MockClock) -> None:
    """What cannot be written are the events by which people leave; what is removed makes room."""

    async def refuse_all(requester: Requester, room_id: RoomId) -> None:
        await trio.lowlevel.checkpoint()
        raise StorageFull("the disk is full")

    room_id = get_rooms(engine)[0]
    async with open_removal(engine, refuse_all) as (removal, store), trio.open_nursery() as nursery:
        await removal.begin(room_id)
        nursery.start_soon(removal.run)
        await trio.sleep(1)
        with store.snapshot() as snapshot:
            assert short_ids.get_room(snapshot, room_id) is None
            told = {key.user: row for key, row in members.USERPOS_FAREWELL.scan(snapshot)}
            assert len(told) == 4
            assert {row.room_id for row in told.values()} == {room_id}
        nursery.cancel_scope.cancel()


@pytest.fixture
def directory(rows: Rows, tmp_path: Path) -> Path:
    """The same store in files."""
    with closing(LmdbEngine(tmp_path / "db", NAMES, reserve_bytes=0)) as engine:
        fill(engine, rows)
    return tmp_path / "db"


async def test_what_the_room_took_is_free_again(directory: Path, autojump_clock: MockClock) -> None:
    before = used_bytes(directory)
    with closing(LmdbEngine(directory, NAMES, reserve_bytes=0)) as engine:
        for room_id in get_rooms(engine):
            async with open_removal(engine) as (removal, _):
                await removal.begin(room_id)
            await run_to_end(engine, room_id)
    assert used_bytes(directory) < before * 0.6


def used_bytes(directory: Path) -> int:
    with open_file(directory / DATA_FILE, trees_max=len(NAMES) + 1, is_shared=False) as reader:
        reader.open_trees(NAMES)
        return reader.used_bytes


@pytest.mark.slow
async def test_removal_goes_on_after_kills(directory: Path) -> None:
    with closing(LmdbEngine(directory, NAMES, reserve_bytes=0)) as engine:
        room_id = get_rooms(engine)[1]
        traces = find_traces(engine, room_id)
        async with open_removal(engine) as (removal, _):
            await removal.begin(room_id)
    kills, is_done = 0, False
    for patience_s in (0.05, 0.1, 0.15, 0.2, 0.3, 60):
        is_done = remove_for(directory, patience_s)
        with closing(LmdbEngine(directory, NAMES, reserve_bytes=0)) as engine:
            assert check(engine) == []
            left = set(scan_naming(read_rows(engine), traces)) - TOLD_ELSEWHERE
        # Killed after the last row went and before it was told, it is done all the same.
        assert not (is_done and left)
        if is_done:
            break
        kills += 1
    assert is_done
    assert kills >= 2


def remove_for(directory: Path, patience_s: float) -> bool:
    """Remove in a process that is killed after so long. Had it done?"""
    command = [sys.executable, "-m", "tests.service.rooms.removing", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"removing\n"
        try:
            return process.wait(patience_s) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            return False
