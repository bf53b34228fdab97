"""``restore`` puts a copy in its place, keeps what was there, and refuses what would do harm."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine
from tests.backup.household import Household, config_of, media_files, write_config
from tests.backup.test_verify import damage, write_fact
from tests.commands.invoking import invoke
from tests.rig.process import ServerProcess, check_files


def dump(directory: Path) -> dict[str, bytes]:
    """Every file, but for the empty one that is locked."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in ("conduit_py.lock", "lock.mdb")
    }


@pytest.fixture
def backup(data: Path, tmp_path: Path) -> Path:
    target = tmp_path / "backup"
    assert invoke("backup", "-c", write_config(data), target).exit_code == 0
    return target


@pytest.mark.usefixtures("own_process")
def test_backup_is_restored_to_an_empty_place(lived: Household, backup: Path, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "new") as server:
        before = dump(backup)
        done = invoke("restore", "-c", write_config(server.data), backup)
        assert (done.exit_code, done.stderr) == (0, "")
        assert "with 2 media files from the copy\n" in done.stdout
        assert dump(backup) == before
        assert invoke("verify", server.data, "--hashes").stdout == f"{server.data} is whole\n"
        server.start()
        assert lived.at(server).read() == lived.sent
        assert lived.at(server).download_all() == lived.contents
        assert server.read_log().count("the database is a copy that was put back") == 1
        server.stop()
        server.start()
        server.stop()
        assert server.read_log().count("the database is a copy that was put back") == 1


@pytest.mark.slow
def test_what_was_there_is_kept_aside(running: Household, tmp_path: Path) -> None:
    config = config_of(running)
    assert invoke("backup", "-c", config, tmp_path / "backup").exit_code == 0
    then = list(running.sent)
    running.say("written after the backup")
    running.upload(b"uploaded after the backup")
    done = invoke("restore", "-c", config, tmp_path / "backup", "--replace")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "another server is running on" in done.stderr
    running.server.stop()

    done = invoke("restore", "-c", config, tmp_path / "backup")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "has a database already" in done.stderr

    done = invoke("restore", "-c", config, tmp_path / "backup", "--replace")
    assert (done.exit_code, done.stderr) == (0, "")
    (aside,) = running.server.data.glob("replaced-*")
    assert f"what was there before is in {aside}\n" in done.stdout
    running.server.start()
    assert running.read() == then
    running.server.stop()
    assert len(media_files(aside)) == 3

    with ServerProcess(tmp_path / "aside") as other:
        shutil.copytree(aside, other.data)
        other.start()
        assert running.at(other).read() == running.sent
        assert running.at(other).download_all() == running.contents
        other.stop()


def read_pos(data: Path, *lost: int) -> tuple[int, list[bool]]:
    """The last position, and whether others were handed out by a history that is gone."""
    engine = LmdbEngine(data / "db", [tree.name for tree in CATALOG], reserve_bytes=0)
    with closing(engine), Database(engine, ObjectCache(0)).snapshot() as snapshot:
        return snapshot.pos, [snapshot.is_from_lost_future(pos) for pos in lost]


def test_positions_of_what_is_replaced_are_passed_on(data: Path, backup: Path) -> None:
    """So none is used twice even if the clock was set back since."""
    then, _ = read_pos(data)
    reached = then + 10**12
    write_fact(data, "position", reached.to_bytes(8, "big"))
    assert invoke("restore", "-c", write_config(data), backup, "--replace").exit_code == 0
    assert read_pos(data, then, then + 1, reached, reached + 1) == (reached, [False, True, True, True])
    assert check_files(data) == []


def test_copy_of_a_directory_is_restored(lived: Household, data: Path, tmp_path: Path) -> None:
    """A plain copy, and a snapshot that lies inside of the directory and has no media of its own."""
    config = write_config(data)
    snapshot = data / "snapshots" / "yesterday"
    snapshot.mkdir(parents=True)
    shutil.copy(data / "db" / "data.mdb", snapshot)
    write_fact(data, "schema", b"99")
    done = invoke("restore", "-c", config, snapshot, "--replace")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "with 0 media files from the copy\n" in done.stdout
    assert "missing" not in done.stdout
    assert invoke("verify", data, "--hashes").stdout == f"{data} is whole\n"
    assert invoke("verify", snapshot).stdout.startswith("media: 2 media files are missing")
    done = invoke("restore", "-c", config, lived.server.data, "--replace")
    assert done.exit_code == 0
    assert check_files(data) == []


def test_damaged_copy_is_refused(data: Path, backup: Path) -> None:
    damage(backup)
    before = dump(data)
    done = invoke("restore", "-c", write_config(data), backup, "--replace")
    assert done.exit_code == 1
    assert done.stdout.startswith("problem: ")
    assert done.stderr == "the copy is damaged, so nothing was changed: restore another one\n"
    assert dump(data) == before


def test_copy_that_is_cut_off_is_refused(data: Path, backup: Path) -> None:
    path = backup / "db" / "data.mdb"
    os.truncate(path, path.stat().st_size - 8192)
    before = dump(data)
    done = invoke("restore", "-c", write_config(data), backup, "--replace")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("the copy is not whole, so nothing was changed: its end is missing")
    assert dump(data) == before


def test_damaged_database_is_replaced(data: Path, backup: Path) -> None:
    damage(data)
    assert invoke("restore", "-c", write_config(data), backup, "--replace").exit_code == 0
    assert check_files(data) == []


def test_copy_of_another_server_is_refused(backup: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "new", server_name="two.test")
    done = invoke("restore", "-c", config, backup)
    assert done.exit_code == 1
    assert "the copy is of the server one.test, and server_name is two.test: nothing was changed" in done.stderr
    assert dump(tmp_path / "new") == {}


def test_directory_of_another_program_is_left_alone(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "conduit.db").touch()
    done = invoke("restore", "-c", write_config(tmp_path / "new"), backup, "--replace")
    assert done.exit_code == 1
    assert "holds the SQLite database of Conduit" in done.stderr
    assert dump(tmp_path / "new") == {"conduit.db": b""}


@pytest.mark.usefixtures("own_process")
def test_source_that_is_none_is_refused(data: Path, tmp_path: Path) -> None:
    config = write_config(data)
    done = invoke("restore", "-c", config, tmp_path / "missing", "--replace")
    assert (done.exit_code, done.stderr) == (1, f"{tmp_path / 'missing'} holds no database: db/data.mdb is missing\n")
    done = invoke("restore", "-c", config, data, "--replace")
    assert (done.exit_code, done.stderr) == (1, f"{data} is the data directory itself\n")


@pytest.mark.slow
def test_directory_of_a_running_server_is_no_copy(running: Household, tmp_path: Path) -> None:
    done = invoke("restore", "-c", write_config(tmp_path / "new"), running.server.data)
    assert done.exit_code == 1
    assert "make a backup of it and restore that" in done.stderr


def test_media_that_are_nowhere_are_said(backup: Path, tmp_path: Path) -> None:
    lost = media_files(backup)[0]
    lost.unlink()
    done = invoke("restore", "-c", write_config(tmp_path / "new"), backup)
    assert done.exit_code == 0
    assert f"media: the media file {''.join(lost.parts[-3:])} is missing\n" in done.stdout
    assert "\n1 media files are missing: they are newer than the copy of the media, or deleted\n" in done.stdout


def test_media_go_where_the_configuration_says(backup: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "new")
    config.write_text(config.read_text() + f'[media]\npath = "{tmp_path}/elsewhere"\ndirectory_structure = {{}}\n')
    assert invoke("restore", "-c", config, backup).exit_code == 0
    assert invoke("verify", "-c", config, "--hashes").exit_code == 0
    assert not (tmp_path / "new" / "media").exists()
