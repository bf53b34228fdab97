"""``backup`` makes a directory that holds everything, is whole, and is there only when it is complete."""

from __future__ import annotations

import shutil
import threading
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from conduit_py.service.backup import apart
from conduit_py.service.backup.make import FACTS, MANIFEST
from tests.backup.household import CONTENTS, Household, config_of, media_files, write_config
from tests.backup.test_verify import damage, write_fact
from tests.commands.invoking import invoke
from tests.rig.process import ServerProcess, check_files


def listing(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_backup_of_a_stopped_server_is_whole(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "backups" / "one"
    target.parent.mkdir()
    before = listing(data)
    done = invoke("backup", "-c", write_config(data), target)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{target}: the database with ")
    assert "2 media files of 0.3 MiB, 2 of them linked\n" in done.stdout
    assert listing(data) == before
    assert listing(target.parent)[0] == "one"
    assert invoke("verify", target, "--hashes").stdout == f"{target} is whole\n"
    assert check_files(target) == []
    entries = [orjson.loads(line) for line in (target / MANIFEST).read_bytes().splitlines()]
    assert {entry["sha256"] for entry in entries} == {sha256(content).hexdigest() for content in CONTENTS}
    for entry in entries:
        content = (target / entry["path"]).read_bytes()
        assert (len(content), sha256(content).hexdigest()) == (entry["size"], entry["sha256"])
    facts = orjson.loads((target / FACTS).read_bytes())
    assert (facts["server_name"], facts["schema"], facts["media"], facts["files"]) == ("one.test", 1, "link", 2)


def test_media_are_linked_copied_or_listed(data: Path, tmp_path: Path) -> None:
    config = write_config(data)
    for choice, files, links in (("link", 2, 2), ("copy", 2, 1), ("list", 0, 0)):
        target = tmp_path / choice
        assert invoke("backup", "-c", config, target, "--media", choice).exit_code == 0
        found = media_files(target)
        assert len(found) == files
        assert {path.stat().st_nlink for path in found} == ({links} if links else set())
        assert len((target / MANIFEST).read_bytes().splitlines()) == 2
        shutil.rmtree(target)


@pytest.mark.usefixtures("own_process")
def test_backup_beside_a_server_at_work(running: Household, tmp_path: Path) -> None:
    """What was acknowledged before it began is in it, and the server goes on."""
    is_enough = threading.Event()

    def write() -> None:
        while not is_enough.is_set():
            running.say("x" * 5000)
            running.upload(str(len(running.sent)).encode())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(running.sent) < 40:
            is_enough.wait(0.01)
        acknowledged = list(running.sent)
        done = invoke("backup", "-c", config_of(running), tmp_path / "backup")
    finally:
        is_enough.set()
        writer.join()
    assert (done.exit_code, done.stderr) == (0, "")
    assert invoke("verify", tmp_path / "backup", "--hashes").stdout == f"{tmp_path / 'backup'} is whole\n"
    assert running.read() == running.sent
    running.server.stop()

    with ServerProcess(tmp_path / "second") as second:
        shutil.copytree(tmp_path / "backup", second.data)
        second.start()
        assert running.at(second).read()[: len(acknowledged)] == acknowledged
        assert "the database is a copy that was put back" in second.read_log()
        second.stop()


@pytest.mark.parametrize("inside", [".", "backup", "media/backup", "db"])
def test_backup_inside_of_what_is_backed_up_is_refused(data: Path, inside: str) -> None:
    before = listing(data)
    done = invoke("backup", "-c", write_config(data), data / inside)
    assert done.exit_code == 1
    assert "is inside of" in done.stderr
    assert listing(data) == before


def test_backup_over_something_is_refused(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    target.mkdir()
    config = write_config(data)
    assert invoke("backup", "-c", config, target).exit_code == 0
    before = listing(target)
    done = invoke("backup", "-c", config, target)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"{target} is there already: choose a name that is free, or an empty directory\n"
    assert listing(target) == before
    done = invoke("backup", "-c", config, tmp_path / "missing" / "backup")
    assert done.stderr == f"{tmp_path / 'missing'} is no directory\n"


def test_backup_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = invoke("backup", "-c", write_config(tmp_path / "data"), tmp_path / "backup")
    assert (done.exit_code, done.stderr) == (1, f"{tmp_path / 'data'} holds no database: db/data.mdb is missing\n")
    assert not (tmp_path / "backup").exists()


KILLED = """
import os, signal
from conduit_py.service.backup import make
make.write_durably = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.usefixtures("own_process")
def test_backup_that_was_interrupted_is_none(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed when everything is written and only the last file is missing."""
    boot = apart._BOOT
    monkeypatch.setattr(apart, "_BOOT", boot.replace("; from conduit_py", f"; exec({KILLED!r}); from conduit_py"))
    config, target = write_config(data), tmp_path / "backup"
    done = invoke("backup", "-c", config, target)
    assert (done.exit_code, done.stderr) == (1, "the process that looked at the files was ended by SIGKILL\n")
    (left,) = tmp_path.glob(".backup.*.unfinished")
    assert not target.exists()
    monkeypatch.setattr(apart, "_BOOT", boot)
    done = invoke("backup", "-c", config, target)
    assert done.exit_code == 0
    assert f"note: {left} is left of a backup that was interrupted, and can be deleted\n" in done.stdout


FULL = """
import shutil
from conduit_py.service.backup import copying
copying.shutil.disk_usage = lambda path: shutil._ntuple_diskusage(1, 1, 100)
"""


@pytest.mark.usefixtures("own_process")
def test_backup_that_does_not_fit_is_not_begun(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = apart._BOOT.replace("; from conduit_py", f"; exec({FULL!r}); from conduit_py")
    monkeypatch.setattr(apart, "_BOOT", boot)
    before = listing(tmp_path)
    done = invoke("backup", "-c", write_config(data), tmp_path / "backup")
    assert done.exit_code == 1
    assert f"MiB are needed at {tmp_path}/.backup." in done.stderr
    assert set(listing(tmp_path)) - set(before) == {"conduit.toml"}


def test_media_that_are_missing_are_said_and_left_out(data: Path, tmp_path: Path) -> None:
    lost, kept = media_files(data)
    lost.unlink()
    done = invoke("backup", "-c", write_config(data), tmp_path / "backup")
    assert done.exit_code == 0
    assert f"media: the media file {''.join(lost.parts[-3:])} is missing\n" in done.stdout
    assert "1 media files of" in done.stdout
    assert [path.name for path in media_files(tmp_path / "backup")] == [kept.name]


def test_damaged_database_is_not_backed_up(data: Path, tmp_path: Path) -> None:
    damage(data)
    done = invoke("backup", "-c", write_config(data), tmp_path / "backup")
    assert done.exit_code == 1
    assert not (tmp_path / "backup").exists()


def test_older_media_are_found_by_their_names(data: Path, tmp_path: Path) -> None:
    """A store that is not migrated yet can be backed up by the version that will migrate it."""
    write_fact(data, "schema", b"0")
    done = invoke("backup", "-c", write_config(data), tmp_path / "backup")
    assert done.exit_code == 0
    assert len(media_files(tmp_path / "backup")) == 2
    assert orjson.loads((tmp_path / "backup" / FACTS).read_bytes())["schema"] == 0
