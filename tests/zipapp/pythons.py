"""The Pythons of this machine, and a copy of one where everybody can reach it."""

from __future__ import annotations

import functools
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NEW: Final = ("3.11", "3.12", "3.13")
"""Those that the file runs under."""
OLD: Final = ("2.7", "3.6", "3.7", "3.8", "3.9", "3.10")

_LEFT_OUT: Final = ("test", "tests", "site-packages", "__pycache__", "idlelib", "tkinter", "lib2to3", "config-*")
_SAY_PREFIX: Final = "import sys; sys.stdout.write(getattr(sys, 'base_prefix', sys.prefix))"


@dataclass(frozen=True, slots=True)
class Python:
    """One Python: what to run, and the directory that its shared library is in."""

    executable: Path
    library: Path


@functools.cache
def find_python(version: str) -> Python | None:
    """The first that works: of those on the path and those that pyenv has."""
    for candidate in _candidates(version):
        try:
            done = subprocess.run([candidate, "-c", _SAY_PREFIX], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            prefix = Path(done.stdout)
            return Python(prefix / "bin" / f"python{version}", prefix / "lib")
    return None


def _candidates(version: str) -> Iterator[str]:
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"), reverse=True))
    found = shutil.which(name)
    if found is not None:
        yield found


def make_reachable(python: Python, folder: Path) -> Python:
    """The same Python, or a copy of it in ``folder`` where this one lies in somebody's private directory."""
    if all(parent.stat().st_mode & stat.S_IXOTH for parent in python.executable.resolve().parents):
        return python
    copy = Python(folder / "bin" / python.executable.name, folder / "lib")
    if not copy.executable.exists():
        copy.executable.parent.mkdir(parents=True)
        shutil.copy(python.executable, copy.executable)
        name = python.executable.name
        shutil.copytree(
            python.library / name, copy.library / name, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT)
        )
        for library in python.library.glob("libpython*.so*"):
            shutil.copy(library, copy.library, follow_symlinks=False)
    return copy
