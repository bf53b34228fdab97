"""A plain copy of the directory of a running server is a backup, and one that is not is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.rig.process import ServerProcess
from tests.scenario.live_copies import open_live_server

FAST = 8
SLOW = 2


@pytest.mark.early
@pytest.mark.slow
def test_every_copy_within_the_bounds_is_whole_and_holds_what_was_acknowledged(tmp_path: Path) -> None:
    with open_live_server(tmp_path, database_mib=1024, copy_seconds=120, copy_growth_mb=4096) as (server, copying):
        for number in range(SLOW):
            copying.copy(mib_per_s=50, keep=number == 0)
        for _ in range(FAST):
            copying.copy()
    assert "is not whole, and will be refused" not in server.process.read_log()
    outcomes = copying.wait()
    assert [str(outcome) for outcome in outcomes if outcome.fault] == []
    assert all(outcome.database_seconds > 20 for outcome in outcomes[:SLOW])
    with ServerProcess(tmp_path / "copy1") as copy:
        copy.start()
        server.look_into(copy)
        copy.stop()
        assert "the copy is whole" in copy.read_log()
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_copies_without_the_promise_are_torn(tmp_path: Path) -> None:
    """So that the test above shows something."""
    with open_live_server(tmp_path, database_mib=32, copy_seconds=0, copy_growth_mb=4096) as (_, copying):
        for _ in range(2):
            copying.copy(mib_per_s=20)
    assert all(outcome.fault for outcome in copying.wait())


@pytest.mark.slow
def test_copy_slowed_past_the_bounds_is_refused_at_start(tmp_path: Path) -> None:
    with open_live_server(tmp_path, database_mib=32, copy_seconds=1, copy_growth_mb=4096) as (_, copying):
        copying.copy(mib_per_s=10, keep=True)
        copying.copy()
    slow, fast = copying.wait()
    assert slow.database_seconds > 3
    assert slow.fault is not None
    assert slow.fault.startswith("refused: the server went on writing while it was copied")
    assert fast.fault is None or fast.database_seconds > 1
    with ServerProcess(tmp_path / "copy1") as copy:
        copy.start(wait=False)
        said = copy.wait_refused()
    assert "is a copy that is not whole: the server went on writing" in said
    assert "there is no consistent snapshot in this directory" in said
