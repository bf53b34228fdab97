"""Runs the command that builds the file, here and in copies of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_zipapp(checkout: Path, file: Path, wheels: Path, *, umask: int = 0o022) -> None:
    """What is downloaded is kept in ``wheels`` for the next."""
    done = subprocess.run(
        [checkout / ".ci" / "zipapp", file],
        cwd=checkout.parent,
        env={**os.environ, "ZIPAPP_WHEELS": str(wheels)},
        umask=umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def copy_checkout(copy: Path) -> Path:
    """What the file is built from, and nothing else."""
    for name in ("conduit_py", "kvschema", ".ci"):
        shutil.copytree(ROOT / name, copy / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy
