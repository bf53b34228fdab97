"""A promise to copies that is not kept is told, and not over and over."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import pytest

from conduit_py.storage.database import open_database
from conduit_py.storage.pins import CopyWatch
from kvschema.batch import WriteBatch
from kvschema.catalog import server

MIB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> CopyWatch:
    return CopyWatch(seconds=60, growth_bytes=24 * MIB, clock=clock, random_mark=lambda: "0" * 16)


def test_writing_too_much_is_told_once_in_a_while(
    clock: Clock, watch: CopyWatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = open_database(tmp_path, "one.test", cache_bytes=1, reserve_bytes=MIB, copies=watch.promise)
    with closing(database.engine) as engine:
        for number in range(100):
            batch = WriteBatch()
            batch.put(server.GLOBAL, server.ByName("row"), bytes([number]) * MIB)
            assert engine.apply([batch]) == [None]
            clock.now_s += 0.3
            if number == 5:
                assert (watch.cuts, caplog.records) == (0, [])
    assert watch.cuts > 1
    (told,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert told.getMessage().startswith("so much was written: a copy of the data directory that was begun more than ")
    assert (tmp_path / "db" / "data.mdb").stat().st_size < 64 * MIB


def test_each_time_counts_and_the_log_hears_of_it_again_later(
    clock: Clock, watch: CopyWatch, caplog: pytest.LogCaptureFixture
) -> None:
    for now_s in (0, 1, 59, 61, 62, 200):
        clock.now_s = now_s
        watch.promise.on_cut("the disk is full", 0)
    assert watch.cuts == 6
    assert len(caplog.records) == 3
