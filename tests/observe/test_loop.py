"""A loop that stands still is noticed, and what held it up is named."""

from __future__ import annotations

import gc
import logging
import threading
import time

import pytest
import trio

from conduit_py.observe.loop import SLOW_TURN_S, WARNING_EVERY_S, WINDOW_S, LoopWatch


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Turns:
    """A watch without a loop: turns as long as a test says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.counted: list[float] = []
        self.watch = LoopWatch(self.counted.append, clock=self.clock, cpu_clock=lambda: self.clock.now / 2)

    def turn(self, seconds: float) -> None:
        self.watch.after_io_wait(0)
        self.clock.now += seconds
        self.watch.look(threading.get_ident())
        self.watch.before_io_wait(0)


@pytest.fixture
def turns() -> Turns:
    return Turns()


def fields(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = record.fields  # type: ignore[attr-defined]
    return found


def test_slow_turn_is_warned_of_and_what_ran_is_named(turns: Turns, caplog: pytest.LogCaptureFixture) -> None:
    turns.turn(0.3)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert (fields(record)["ms"], fields(record)["cpu_ms"]) == (300, 150)
    assert "conduit_py.observe.loop" in str(fields(record)["ran"])


def test_quick_turn_is_no_matter(turns: Turns, caplog: pytest.LogCaptureFixture) -> None:
    turns.turn(SLOW_TURN_S * 0.9)
    assert caplog.records == []
    turns.turn(0.001)
    assert turns.counted == [pytest.approx(SLOW_TURN_S * 0.9)]


def test_place_of_an_earlier_turn_is_not_told_of_a_later_one(turns: Turns, caplog: pytest.LogCaptureFixture) -> None:
    turns.turn(0.3)
    turns.clock.now += WARNING_EVERY_S
    turns.watch.after_io_wait(0)
    turns.clock.now += 0.2
    turns.watch.before_io_wait(0)  # over before the thread looked
    assert fields(caplog.records[-1])["ran"] == "unknown"


def test_warnings_are_seldom_and_tell_how_many_were_left_out(turns: Turns, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        turns.turn(0.1)
    turns.clock.now += WARNING_EVERY_S
    turns.turn(0.1)
    assert [fields(record)["left_out"] for record in caplog.records] == [0, 4]


def test_garbage_collection_is_told_apart(turns: Turns, caplog: pytest.LogCaptureFixture) -> None:
    turns.watch.after_io_wait(0)
    turns.watch._note_collection("start", {"generation": 2})
    turns.clock.now += 0.2
    turns.watch._note_collection("stop", {"generation": 2})
    turns.watch._note_collection("start", {"generation": 0})
    turns.clock.now += 0.1
    turns.watch.before_io_wait(0)
    assert fields(caplog.records[0])["garbage_collection_ms"] == 200


def test_lag_is_that_of_the_last_seconds(turns: Turns) -> None:
    turns.turn(0.3)
    turns.turn(0.02)
    assert turns.watch.lag_s == pytest.approx(0.3)
    turns.clock.now += WINDOW_S
    assert turns.watch.lag_s == pytest.approx(0.3)
    turns.turn(0.02)
    turns.clock.now += WINDOW_S
    assert turns.watch.lag_s == pytest.approx(0.02)
    turns.clock.now += 3 * WINDOW_S
    assert turns.watch.lag_s == 0


class SeenWatch(LoopWatch):
    """Says when it has looked last."""

    looked_s = 0.0

    def look(self, ident: int) -> None:
        begun = time.perf_counter()
        super().look(ident)
        self.looked_s = begun


def block(watch: SeenWatch) -> None:
    """What a task must not do, for so long that the watch must have seen it, however seldom its thread comes to run."""
    begun = time.perf_counter()
    while watch.looked_s < begun + SLOW_TURN_S:
        pass


def test_thread_finds_the_line_in_a_real_loop(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conduit_py.observe.loop._PACKAGES", ("tests",))
    callbacks = list(gc.callbacks)

    async def main() -> None:
        watch = SeenWatch()
        with watch.watching():
            await trio.lowlevel.checkpoint()
            block(watch)
            await trio.lowlevel.checkpoint()

    trio.run(main)
    assert "test_loop:" in str(fields(caplog.records[0])["ran"])
    assert " block < " in str(fields(caplog.records[0])["ran"])
    assert gc.callbacks == callbacks
