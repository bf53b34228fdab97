"""A server whose power is cut has kept its word when it is back: what it had not synced is lost, and nobody knew of it.

Followers are part of it: whatever any client was shown must still be there.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from conduit_py.storage.database import DIRECTORY
from tests.crash.load import Load
from tests.crash.powercut import build_library, cut, environment, keep_owned
from tests.rig.process import ServerProcess

SYNC_US = 300
"""How much longer a sync takes than it does here, so that more is on its way when the power goes."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("powercut"))


class Plug:
    """The power of one server."""

    def __init__(self, library: Path, directory: Path, seed: int) -> None:
        self.server = ServerProcess(directory)
        self._library = library
        self._durable = directory / "durable"
        self._random = Random(seed)

    def watch(self) -> None:
        """What is in the files now is on the disk. Call before each start."""
        self.server.environment = environment(self._library, self.server.data, self._durable, sync_us=SYNC_US)

    def pull(self) -> None:
        """Cut the power: afterwards the files are what was left of them."""
        self.server.kill()
        database = self.server.data / DIRECTORY
        markers = [path.name for path in database.glob("own-*")]
        shutil.rmtree(self.server.data)
        chance = self._random.choice((None, self._random))
        cut(self._durable, self.server.data, chance)
        keep_owned(database, markers)


def check_cuts(library: Path, directory: Path, *, rounds: int, seed: int) -> None:
    load, plug = Load(seed), Plug(library, directory, seed)
    with plug.server as server:
        plug.watch()
        server.start()
        load.begin(server)
        plug.pull()
        for _ in range(rounds):
            plug.watch()
            load.crash_once(server, plug.pull)
            load.check_files(server.data)
        plug.watch()
        load.finish(server)
        server.check_log()
        assert "the database is a copy" not in server.read_log(), "whose power is cut finds what is its own"
    load.check_files(server.data, is_finished=True)


@pytest.mark.early
def test_cut_off_server_kept_what_it_acknowledged_and_what_it_showed(library: Path, tmp_path: Path) -> None:
    check_cuts(library, tmp_path, rounds=5, seed=1)


@pytest.mark.early
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_cut_off_server_kept_its_word_many_times(library: Path, tmp_path: Path, seed: int) -> None:
    check_cuts(library, tmp_path, rounds=20, seed=seed)
