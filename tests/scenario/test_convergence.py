"""Seeds of ``tests.scenario.convergence``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.process import ROOT

BATCH = 25
"""To start a process costs as much as a few seeds."""
SEEDS = 50
MORE_SEEDS = 500


def play(*seeds: int, cwd: Path = ROOT, **variables: str) -> str:
    """What is printed of them, in a process of their own: see there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.scenario.convergence", *map(str, seeds)],
        cwd=cwd,
        env={**os.environ, "PYTHONHASHSEED": "0", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]}\n{done.stderr[-20_000:]}"
    return done.stdout


def test_a_seed_decides_everything(tmp_path: Path) -> None:
    checkout = tmp_path / "another" / "checkout"
    files = checkout / "conduit_data" / "media" / "ab"
    files.mkdir(parents=True)
    (files / "cdef").write_bytes(b"where a server keeps files if it is not told")
    for package in ("conduit_py", "kvschema", "tests"):
        (checkout / package).symlink_to(ROOT / package)
    here, there = play(SEEDS), play(SEEDS, cwd=checkout, ANOTHER="x" * 10_000)
    assert re.fullmatch(rf"seed {SEEDS} [0-9a-f]{{64}}\n", here)
    assert here == there


@pytest.mark.early
@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_servers_agree_in_the_end(first: int) -> None:
    play(*range(first, first + BATCH))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(SEEDS, MORE_SEEDS, BATCH))
def test_servers_agree_in_the_end_of_more_stories(first: int) -> None:
    play(*range(first, first + BATCH))
