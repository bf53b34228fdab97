"""A server that is started on a copy of a data directory."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from conduit_py.config import load_config
from conduit_py.service.backup import copied
from conduit_py.service.backup.copied import check_copied
from conduit_py.service.backup.snapshots import Snapshots
from kvschema.engine.stamp import STAMP_BYTES, UNPINNED, read_stamp
from kvschema.errors import SchemaMismatch
from tests.backup.household import Household, write_config
from tests.backup.test_verify import damage
from tests.commands.invoking import invoke
from tests.rig.process import ServerProcess

TORN = "is a copy that is not whole: the server went on writing while it was copied"


async def check(data: Path) -> None:
    await check_copied(load_config(write_config(data), {}).config)


def tear(data: Path) -> None:
    """As if pages had been used again while the file was copied."""
    with (data / "db" / "data.mdb").open("r+b") as file:
        stamp = read_stamp(file.fileno())
        assert stamp is not None
        file.seek(-STAMP_BYTES, os.SEEK_END)
        file.write(replace(stamp, floor=UNPINNED - 1).encode())


def contents(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


async def test_whole_copy_passes(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await check(data)
    assert [record.message for record in caplog.records] == [
        "the database is a copy, or was put back: verifying it before anything is served",
        "the copy is whole",
    ]


async def test_copy_that_was_torn_is_refused_before_anybody_looks_into_it(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tear(data)
    monkeypatch.delattr(copied, "verify")
    before = contents(data)
    with pytest.raises(SchemaMismatch, match=TORN):
        await check(data)
    assert contents(data) == before


def test_torn_copy_is_found_torn_and_nothing_is_made_of_it(data: Path, tmp_path: Path) -> None:
    """What is compacted or backed up is marked as whole, so nobody would know any more."""
    tear(data)
    before, config = contents(data), write_config(data)
    for command in ("verify", data), ("compact", "-c", config), ("backup", "-c", config, tmp_path / "made"):
        done = invoke(*command)
        assert done.exit_code == 1
        assert "the server went on writing while it was copied" in done.output
    assert contents(data) == before
    assert not (tmp_path / "made").exists()


async def test_copy_whose_end_is_missing_is_refused(data: Path) -> None:
    path = data / "db" / "data.mdb"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(SchemaMismatch, match="is a copy that is not whole: its end is missing"):
        await check(data)


async def test_damaged_copy_is_refused_with_what_was_found(data: Path) -> None:
    damage(data)
    with pytest.raises(SchemaMismatch, match=r"is a copy that is not whole: .*page.*there is no consistent snapshot"):
        await check(data)


async def test_file_that_is_no_database_is_refused(data: Path) -> None:
    (data / "db" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(SchemaMismatch, match="is no database that this program can read"):
        await check(data)


async def test_media_file_that_is_missing_is_told_and_not_fatal(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    next(path for path in (data / "media").rglob("*") if path.is_file() and path.stat().st_size).unlink()
    with caplog.at_level(logging.WARNING):
        await check(data)
    (told,) = [record for record in caplog.records if record.message.startswith("media files are missing")]
    assert told.__dict__["fields"] == {"files": 1}


async def test_directory_of_ones_own_is_not_looked_into(
    lived: Household, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(copied, "verify")
    await check(lived.server.data)
    assert caplog.records == []


async def test_directory_that_is_not_there_yet_is_no_copy(tmp_path: Path) -> None:
    await check(tmp_path / "data")


def test_server_says_which_snapshot_to_go_on_from(lived: Household, tmp_path: Path) -> None:
    """From the refusal by the command in it to a server that runs."""
    with ServerProcess(tmp_path / "copy") as server:
        shutil.copytree(lived.server.data, server.data)
        trio.run(Snapshots(server.data, interval_s=60, kept=1, now_s=lambda: 1e9).make)
        tear(server.data)
        server.start(wait=False)
        said = server.wait_refused()
        assert TORN in said
        program, *arguments = shlex.split(said.rpartition("To go on from it: ")[2])
        assert program == "conduit_py"
        done = invoke(*arguments, "-c", str(tmp_path / "copy" / "conduit.toml"))
        assert done.exit_code == 0, done.stderr
        server.start()
        people = lived.at(server)
        assert people.read() == lived.sent
        assert people.download_all() == lived.contents
        server.stop()
        assert "the database is a copy that was put back" in server.read_log()
