"""Seeds of ``tests.scenario.convergence``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.rig.process import ROOT

BATCH = 25
"""To start a process costs as much as a few seeds."""
SEEDS = 50
MORE_SEEDS = 500


def play(first: int) -> None:
    """A batch of seeds, in a process of their own: see there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.scenario.convergence", *map(str, range(first, first + BATCH))],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]}\n{done.stderr[-20_000:]}"


@pytest.mark.early
@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_servers_agree_in_the_end(first: int) -> None:
    play(first)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(SEEDS, MORE_SEEDS, BATCH))
def test_servers_agree_in_the_end_of_more_stories(first: int) -> None:
    play(first)
