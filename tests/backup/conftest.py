"""A data directory that a server has lived in, made once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import trio

from conduit_py.service.backup.messages import Impossible, Tell
from tests.backup.household import Household
from tests.rig.process import ServerProcess

WORKERS = ("verify", "make", "restore", "compact", "snapshots")


@pytest.fixture(autouse=True)
def work_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is done in this process, which is quicker, unless a test asks for ``own_process``."""
    if "own_process" not in request.fixturenames:
        for worker in WORKERS:
            monkeypatch.setattr(f"conduit_py.service.backup.{worker}.run_apart", run_here)


@pytest.fixture
def own_process() -> None:
    """Work is done where it is done in earnest."""


async def run_here(module: str, function: str, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    await trio.lowlevel.checkpoint()
    try:
        answer: Mapping[str, Any] = getattr(import_module(module), function)(tell, **arguments)
    except OSError as error:
        raise Impossible(str(error)) from error
    return answer


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """The server has stopped."""
    with ServerProcess(tmp_path_factory.mktemp("lived")) as server:
        server.start()
        household = Household.move_in(server)
        server.stop()
        yield household


@pytest.fixture
def data(lived: Household, tmp_path: Path) -> Path:
    """A copy of the directory, for one test."""
    return Path(shutil.copytree(lived.server.data, tmp_path / "data"))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Household]:
    """A household of one's own, whose server runs."""
    with ServerProcess(tmp_path / "server") as server:
        server.start()
        yield Household.move_in(server)
