"""A server that is killed while a room moves by thousands of members has moved it or not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import trio

from tests.crash.moving import BEGINS, ENDS, is_received, prepare

ROUNDS = 4
PATIENCE_S = 60


def start(directory: Path) -> subprocess.Popen[str]:
    """It has begun."""
    command = [sys.executable, "-m", "tests.crash.moving", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == BEGINS
    return process


def run(directory: Path) -> float:
    """To its end. Returns how long it took."""
    process = start(directory)
    began = time.monotonic()
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert output.strip() == ENDS
    return time.monotonic() - began


def test_large_move_is_done_or_not_done(tmp_path: Path) -> None:
    before, random = tmp_path / "before", Random(1)
    before.mkdir()
    trio.run(prepare, before)
    assert not is_received(before)
    whole = tmp_path / "whole"
    shutil.copytree(before, whole)
    took_s = run(whole)
    assert is_received(whole)
    for number in range(ROUNDS):
        directory = tmp_path / f"killed{number}"
        shutil.copytree(before, directory)
        with start(directory) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(took_s * random.random())
            process.kill()
        if not is_received(directory):
            # The other server has had no answer, and sends it again.
            run(directory)
            assert is_received(directory)
        shutil.rmtree(directory)
