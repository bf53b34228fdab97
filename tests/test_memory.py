"""When garbage is collected."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing

from conduit_py import process


async def test_everything_is_looked_at_once_a_day_and_never_in_between(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    thresholds, collected = [(700, 10, 10)], list[float]()
    monkeypatch.setattr(gc, "collect", lambda: collected.append(trio.current_time()))
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "get_threshold", lambda: thresholds[-1])
    monkeypatch.setattr(gc, "set_threshold", lambda *values: thresholds.append(values))
    process.settle_memory()
    assert thresholds[-1][:2] == (700, 10)
    assert thresholds[-1][2] > 1_000_000
    started = collected.pop()
    with trio.move_on_after(process.FULL_COLLECTION_EVERY_S * 2.5):
        await process.collect_daily()
    assert collected == [started + process.FULL_COLLECTION_EVERY_S, started + 2 * process.FULL_COLLECTION_EVERY_S]
