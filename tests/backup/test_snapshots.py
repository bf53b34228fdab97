"""Snapshots inside the data directory: made in time, whole, and no more than are wanted."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from conduit_py.service.backup import snapshots
from conduit_py.service.backup.messages import Impossible, ignore
from conduit_py.service.backup.snapshots import FIRST_S, PATIENCE_S, Snapshots, find_snapshots
from conduit_py.service.backup.verify import verify
from kvschema.engine.pages import HEADER_BYTES, read_metas, walk_pages
from kvschema.engine.stamp import Stamp, check_whole

DAY_S = 86_400


def make(data: Path, *, kept: int = 2) -> Snapshots:
    return Snapshots(data, interval_s=DAY_S, kept=kept, now_s=trio.current_time)


def names(data: Path) -> list[str]:
    return [path.name for path in find_snapshots(data)]


@asynccontextmanager
async def running(task: Snapshots) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task.run)
        yield
        nursery.cancel_scope.cancel()


async def test_snapshot_is_whole_and_known_for_a_copy(data: Path, autojump_clock: trio.testing.MockClock) -> None:
    made = await make(data).make()
    assert check_whole(made / "data.mdb") == Stamp(floor=0)
    report = await verify(made, media_path=data / "media")
    assert (report.problems, report.media) == ((), ())
    assert (made / "data.mdb").stat().st_mode & 0o777 == 0o600
    assert names(data) == [made.name]


async def test_snapshots_are_made_in_time_and_the_oldest_go(data: Path, autojump_clock: trio.testing.MockClock) -> None:
    begun_s = trio.current_time()
    async with running(make(data)):
        await trio.sleep(FIRST_S - 1)
        assert names(data) == []
        seen = []
        for _ in range(4):
            await trio.sleep(2)
            seen.append(names(data))
            await trio.sleep(DAY_S - 2)
    assert [len(found) for found in seen] == [1, 2, 2, 2]
    assert seen[3][0] == seen[2][1]
    assert trio.current_time() - begun_s < 5 * DAY_S


async def test_restart_does_not_make_one_before_its_time(data: Path, autojump_clock: trio.testing.MockClock) -> None:
    first = await make(data).make()
    await trio.sleep(DAY_S / 2)
    async with running(make(data)):
        await trio.sleep(DAY_S / 2 - 10)
        assert names(data) == [first.name]
        await trio.sleep(20)
        assert len(names(data)) == 2


async def test_clock_that_was_ahead_costs_no_snapshot(data: Path, autojump_clock: trio.testing.MockClock) -> None:
    ahead = Snapshots(data, interval_s=DAY_S, kept=1, now_s=lambda: trio.current_time() + 1000 * DAY_S)
    future = await ahead.make()
    async with running(make(data, kept=1)):
        await trio.sleep(DAY_S + 1)
        (first,) = names(data)
        assert first != future.name
        await trio.sleep(DAY_S)
        (second,) = names(data)
        assert second > first


async def test_damaged_database_leaves_the_last_snapshot_alone(
    data: Path, autojump_clock: trio.testing.MockClock
) -> None:
    first = await make(data, kept=1).make()
    damage_leaf(data / "db" / "data.mdb")
    await trio.sleep(DAY_S)
    with pytest.raises(Impossible, match="has keys out of order; verify says more"):
        await make(data, kept=1).make()
    assert os.listdir(data / "snapshots") == [first.name]


def damage_leaf(path: Path) -> None:
    """Exchange two rows of a tree, which LMDB does not see."""
    meta = max(read_metas(path), key=lambda meta: meta.transaction)
    for page in range(2, meta.last_page + 1):
        start = page * meta.page_bytes
        with path.open("r+b") as file:
            file.seek(start)
            before = file.read(HEADER_BYTES + 4)
            file.seek(start + HEADER_BYTES)
            file.write(before[-2:] + before[-4:-2])
        if any("tree " in problem and "out of order" in problem for problem in walk_pages(path, meta)):
            return
        with path.open("r+b") as file:
            file.seek(start)
            file.write(before)
    raise AssertionError("there is no tree with two rows")


async def test_none_is_made_where_none_is_wanted(data: Path, autojump_clock: trio.testing.MockClock) -> None:
    await make(data, kept=0).run()
    assert names(data) == []


async def test_disk_without_room_is_left_alone_and_asked_again(
    data: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "SPARE_BYTES", 1 << 60)
        with pytest.raises(Impossible, match="the disk has less than"):
            await make(data).make()
        async with running(make(data)):
            await trio.sleep(FIRST_S + 1)
            assert names(data) == []
            patch.undo()
            patch.setattr("conduit_py.service.backup.snapshots.run_apart", _run_here)
            await trio.sleep(PATIENCE_S)
            assert len(names(data)) == 1


async def _run_here(module: str, function: str, arguments: dict[str, Any], tell: object) -> object:
    await trio.lowlevel.checkpoint()
    return snapshots.write_snapshot(ignore, **arguments)


async def test_unfinished_snapshot_is_none_and_goes(data: Path, autojump_clock: trio.testing.MockClock) -> None:
    left = data / "snapshots" / "unfinished"
    left.mkdir(parents=True)
    (left / "data.mdb").write_bytes(b"half")
    assert names(data) == []
    async with running(make(data)):
        await trio.sleep(1)
        assert not left.exists()


async def test_snapshot_that_cannot_be_written_leaves_nothing(
    data: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("the disk has gone")

    monkeypatch.setattr(snapshots, "append_stamp", refuse)
    with pytest.raises(Impossible, match="the disk has gone"):
        await make(data).make()
    assert os.listdir(data / "snapshots") == []


@pytest.mark.usefixtures("own_process")
async def test_process_of_its_own_makes_one(data: Path) -> None:
    made = await Snapshots(data, interval_s=DAY_S, kept=1, now_s=lambda: 0.0).make()
    assert made.name == "1970-01-01T00-00-00Z"
    check_whole(made / "data.mdb")


@pytest.mark.usefixtures("own_process")
async def test_process_that_cannot_be_started_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade of the host's Python: the server goes on."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(Impossible, match=r"cannot be started: .*/nowhere/python"):
        await make(data).make()
