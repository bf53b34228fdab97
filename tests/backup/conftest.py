"""A data directory that a server has lived in, made once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backup.household import Household
from tests.rig.process import ServerProcess


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
