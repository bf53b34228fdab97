"""The one file, on hosts that have a Python and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from conduit_py import __version__
from tests.rig.process import ServerProcess
from tests.zipapp.building import build_zipapp, copy_checkout
from tests.zipapp.pythons import NEW, OLD, Python, find_python, make_reachable
from tests.zipapp.user import SHELL, FreshUser

pytestmark = pytest.mark.slow

CACHE = Path(".cache/conduit_py")
UNPACK_S_MAX = 120
OLD_HERE = [version for version in OLD if find_python(version) is not None]


def python_of(version: str, shared: Path) -> Python:
    python = find_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    return make_reachable(python, shared / version)


def unpacked(cache: Path) -> dict[str, int]:
    """Every file in the cache, and when it was written, but for what Python and pex note at each start."""
    left_out = ("__pycache__", ".last-access")
    files = (path for path in cache.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path): path.stat().st_mtime_ns for path in files if not {*path.parts}.intersection(left_out)}


@pytest.mark.parametrize("version", NEW)
def test_file_runs_on_a_host_with_nothing_but_python(version: str, zipapp: Path, shared: Path, user: FreshUser) -> None:
    python = python_of(version, shared)
    file = user.home / "conduit_py.pyz"
    shutil.copy(zipapp, file)
    assert f"CPython {version}." in user.run(python.executable, file, "version", python=python).stdout
    first = unpacked(user.home / CACHE)
    assert first
    with ServerProcess(user.home) as server:
        server.program = user.command(python.executable, file, python=python, environment={})
        server.start()
        with urllib.request.urlopen(f"{server.url}/_matrix/client/versions") as answer:
            assert answer.status == 200
        asked = user.run(file, "healthcheck", "-c", user.home / "conduit.toml", python=python)
        assert (asked.returncode, asked.stdout) == (0, f"the server at {server.url.removeprefix('http://')} is well\n")
        server.stop()
    assert unpacked(user.home / CACHE) == first
    assert list(user.here.iterdir()) == []
    written = {path.name for path in user.home.iterdir()} - {"empty", "tools", "stderr.log"}
    assert written == {"conduit_py.pyz", "conduit.toml", "data", ".cache"}
    assert {path.name for path in (user.home / ".cache").iterdir()} == {CACHE.name}


def test_file_that_is_stopped_while_it_unpacks_unpacks_again(zipapp: Path, shared: Path, user: FreshUser) -> None:
    """And it unpacks where it is told to."""
    python = python_of("3.11", shared)
    cache = user.home / "elsewhere"
    environment = {"PEX_ROOT": str(cache)}
    command = user.command(python.executable, zipapp, "version", python=python, environment=environment)
    for files in (1, 1500):
        kill_when_unpacked(command, cache, files)
    done = user.run(python.executable, zipapp, "version", python=python, environment=environment)
    assert done.returncode == 0, done.stdout
    assert f"conduit_py {__version__}" in done.stdout.splitlines()
    assert not (user.home / ".cache").exists()
    if OLD_HERE:  # started with it, the file looks for another
        old = python_of(OLD_HERE[-1], shared)
        libraries = {"LD_LIBRARY_PATH": f"{python.library}:{old.library}"}
        done = user.run(old.executable, zipapp, "version", python=python, environment=environment | libraries)
        assert "CPython 3.11." in done.stdout, done.stdout


def kill_when_unpacked(command: list[str], cache: Path, files: int) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + UNPACK_S_MAX
    while sum(len(names) for _, _, names in os.walk(cache)) < files:
        assert time.monotonic() < deadline, "it does not unpack"
        try:
            process.wait(timeout=0.01)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError("it was done before it could be stopped")
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("version", OLD_HERE[-1:])
def test_python_that_is_too_old_is_told_so(version: str, zipapp: Path, shared: Path, user: FreshUser) -> None:
    python = python_of(version, shared)
    done = user.run(python.executable, zipapp, "version", python=python)
    assert done.returncode == 1
    assert f"CPython=={version}." in done.stdout
    assert "Version matches CPython<3.14,>=3.11" in done.stdout
    assert "Error" not in done.stdout.replace("[Errno", "")
    assert "Traceback" not in done.stdout


def test_host_without_python_is_told_so(zipapp: Path, user: FreshUser) -> None:
    done = user.run(SHELL, zipapp, "version")
    assert done.returncode == 1
    assert "Failed to find any of these python binaries" in done.stdout
    assert "python3.11" in done.stdout


def test_same_checkout_gives_the_same_file(zipapp: Path, wheels: Path, tmp_path: Path) -> None:
    """At another place, for somebody whose new files are private."""
    again = tmp_path / "again.pyz"
    build_zipapp(copy_checkout(tmp_path / "checkout"), again, wheels, umask=0o077)
    assert digest(again) == digest(zipapp)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
