"""``compact`` makes the file smaller and changes nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conduit_py.service.backup import apart
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine
from tests.backup.household import Household, config_of, write_config
from tests.backup.test_verify import damage
from tests.commands.invoking import invoke
from tests.data.full_store import Rows, read_rows


def rows(data: Path) -> Rows:
    engine = LmdbEngine(data / "db", [tree.name for tree in CATALOG], reserve_bytes=0)
    try:
        found = dict(read_rows(engine))
    finally:
        engine.close()
    return found


def test_file_shrinks_and_every_row_stays(data: Path) -> None:
    before, size = rows(data), (data / "db" / "data.mdb").stat().st_size
    done = invoke("compact", "-c", write_config(data))
    assert (done.exit_code, done.stderr) == (0, "")
    after = (data / "db" / "data.mdb").stat().st_size
    assert after < size // 2
    assert f"took {size / 2**20:,.1f} MiB and takes {after / 2**20:,.1f} MiB now" in done.stdout
    names = {path.name for path in (data / "db").iterdir() if not path.name.startswith("own-")}
    assert names - {"lock.mdb"} == {"data.mdb"}
    assert rows(data) == before
    assert invoke("verify", data, "--hashes").exit_code == 0


@pytest.mark.slow
@pytest.mark.usefixtures("own_process")
def test_compacted_database_is_no_copy(running: Household) -> None:
    """Otherwise its one-time keys would be dropped."""
    done = invoke("compact", "-c", config_of(running))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "another server is running on" in done.stderr
    running.server.stop()
    assert invoke("compact", "-c", config_of(running)).exit_code == 0
    running.server.start()
    assert running.read() == running.sent
    running.server.stop()
    assert "the database is a copy" not in running.server.read_log()


READ_AND_WAIT = """
import sys
from pathlib import Path
from kvschema.engine.lmdb_file import open_file
with open_file(Path(sys.argv[1]), trees_max=1, is_shared=True):
    print("reading", flush=True)
    sys.stdin.read()
"""


def test_somebody_who_reads_the_old_file_does_no_harm(data: Path) -> None:
    """LMDB's lock file says of it which transaction was the last, and would say so of the new one."""
    before = rows(data)
    command = [sys.executable, "-c", READ_AND_WAIT, str(data / "db" / "data.mdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"reading\n"
        assert invoke("compact", "-c", write_config(data)).exit_code == 0
        assert rows(data) == before
        other.kill()
        other.wait()
    assert rows(data) == before


def test_damaged_database_is_left_alone(data: Path) -> None:
    damage(data)
    before = (data / "db" / "data.mdb").read_bytes()
    done = invoke("compact", "-c", write_config(data))
    assert done.exit_code == 1
    assert "the database is damaged" in done.stderr
    assert "nothing was changed, and verify says more" in done.stderr
    assert (data / "db" / "data.mdb").read_bytes() == before


KILLED = """
import os, signal
from conduit_py.service.backup import compact
compact.mark_as_copy = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.usefixtures("own_process")
def test_interrupted_compaction_changes_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (data / "db" / "data.mdb").read_bytes()
    boot = apart._BOOT.replace("; from conduit_py", f"; exec({KILLED!r}); from conduit_py")
    monkeypatch.setattr(apart, "_BOOT", boot)
    assert invoke("compact", "-c", write_config(data)).exit_code == 1
    assert (data / "db" / "data.mdb").read_bytes() == before
    assert len(list((data / "db").glob(".compact.*.unfinished"))) == 1
    monkeypatch.undo()
    assert invoke("compact", "-c", write_config(data)).exit_code == 0
    assert not list((data / "db").glob(".compact.*"))
    assert invoke("verify", data).exit_code == 0


def test_nothing_to_compact(tmp_path: Path) -> None:
    done = invoke("compact", "-c", write_config(tmp_path / "data"))
    assert (done.exit_code, done.stderr) == (1, f"{tmp_path / 'data'} holds no database: db/data.mdb is missing\n")
    assert not (tmp_path / "data").exists()
