"""Types and lint are part of the one test run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def check(tool: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{tool} {' '.join(arguments)}\n{done.stdout}"


@pytest.mark.early
def test_types_are_right() -> None:
    """The packages are those named in ``pyproject.toml``."""
    check("mypy", "--no-pretty", "--no-error-summary")


def test_lint_finds_nothing() -> None:
    check("ruff", "check", "--quiet", "--output-format=concise", "conduit_py", "kvschema", "tests", "bench")
