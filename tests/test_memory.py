"""When garbage is collected, and what becomes of memory that was freed."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys

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


FREED = """
import sys, threading
from pathlib import Path
from conduit_py import process

if sys.argv[1] == "give back":
    process.give_back_memory()

def own() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))

def use() -> None:
    for _ in range(3):
        b"x" * (8 << 20)

use_before = own()
thread = threading.Thread(target=lambda: (use(), print(own() - use_before)))
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how GNU's C library keeps memory")
def test_large_pieces_are_given_back_when_they_are_freed() -> None:
    def kept_kib(how: str) -> int:
        run = subprocess.run([sys.executable, "-c", FREED, how], capture_output=True, text=True, check=True)
        return int(run.stdout)

    assert kept_kib("keep") > 7000
    assert kept_kib("give back") < 2000
