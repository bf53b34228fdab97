"""Somebody with an account on a shared host: a home directory, and nothing else that they may write to."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.zipapp.pythons import Python

USER_ID: Final = 65_533
"""Nobody's on any system: a user without files, groups and name."""
SHELL: Final = "/bin/sh"

_AS_USER: Final = f"""
mount --bind "$1" "$1"
mount -o remount,bind,ro /
home=$1; shift
exec setpriv --reuid {USER_ID} --regid {USER_ID} --clear-groups -- "$@"
"""
"""Everything is read-only but the home directory."""


class FreshUser:
    """Runs commands in their home directory. Not root, if this is run by root; otherwise whoever runs this."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.here = home / "empty"
        """An empty directory, where commands are run."""
        self.tools = home / "tools"
        """What the host has besides."""
        self.here.mkdir()
        self.tools.mkdir()
        ldd = shutil.which("ldd")
        if ldd is not None:
            (self.tools / "ldd").symlink_to(ldd)
        self.give(home, self.here)

    def give(self, *paths: Path) -> None:
        """Make these files the user's."""
        if os.geteuid() == 0:
            for path in paths:
                os.chown(path, USER_ID, USER_ID)

    def command(self, *command: str | Path, python: Python | None, environment: Mapping[str, str]) -> list[str]:
        """What to execute so that ``command`` runs as this user, who has this Python on the path, or none at all."""
        variables = {"HOME": str(self.home), "PATH": str(self.tools), **environment}
        if python is not None:
            variables["PATH"] = f"{python.executable.parent}:{self.tools}"
            variables.setdefault("LD_LIBRARY_PATH", str(python.library))
        clean = ["env", "-i", f"--chdir={self.here}", *(f"{name}={value}" for name, value in variables.items())]
        return [*self._as_user(), *clean, *map(str, command)]

    def _as_user(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        return ["unshare", "--mount", SHELL, "-euc", _AS_USER, SHELL, str(self.home)]

    def run(
        self, *command: str | Path, python: Python | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Both outputs are in ``stdout``."""
        return subprocess.run(
            self.command(*command, python=python, environment=environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@contextmanager
def make_user() -> Iterator[FreshUser]:
    """Their home is not below a directory that is private to whoever runs this."""
    home = Path(tempfile.mkdtemp(prefix="conduit_py-home-"))
    try:
        yield FreshUser(home)
    finally:
        shutil.rmtree(home)
