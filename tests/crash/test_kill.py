"""A server that is killed at any moment has kept its word when it is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.load import Load
from tests.rig.process import ServerProcess


def check_kills(directory: Path, *, rounds: int, seed: int) -> None:
    load = Load(seed)
    with ServerProcess(directory) as server:
        server.start()
        load.begin(server)
        server.kill()
        for _ in range(rounds):
            load.crash_once(server, server.kill)
            load.check_files(server.data)
        load.finish(server)
        server.check_log()
    load.check_files(server.data, is_finished=True)


@pytest.mark.early
def test_killed_server_kept_what_it_acknowledged_and_what_it_showed(tmp_path: Path) -> None:
    check_kills(tmp_path, rounds=20, seed=1)


@pytest.mark.early
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 10))
def test_killed_server_kept_its_word_many_times(tmp_path: Path, seed: int) -> None:
    check_kills(tmp_path, rounds=20, seed=seed)
