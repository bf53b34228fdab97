"""``verify`` is silent over what the server wrote, and says in sentences what is wrong with anything else."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from conduit_py.service.backup.messages import Died, Finding, Kind, Message
from conduit_py.service.backup.verify import FINDINGS_MAX, Report, verify
from kvschema.batch import WriteBatch
from kvschema.catalog import CATALOG, rooms, server
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.pages import read_metas
from kvschema.migrate import apply_one
from tests.backup.household import Household, media_files
from tests.commands.invoking import invoke
from tests.rig.process import ROOT

PAGE = 4096


def listing(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def write_row(data: Path, batch: WriteBatch) -> None:
    engine = LmdbEngine(data / "db", [tree.name for tree in CATALOG], reserve_bytes=0)
    apply_one(engine, batch)
    engine.close()


def write_fact(data: Path, name: str, value: bytes) -> None:
    batch = WriteBatch()
    batch.put(server.GLOBAL, server.ByName(name), value)
    write_row(data, batch)


def damage(data: Path) -> int:
    """Lose the page that everything begins at."""
    path = data / "db" / "data.mdb"
    meta = max(read_metas(path), key=lambda meta: meta.transaction)
    with path.open("r+b") as file:
        file.seek(meta.main.root * PAGE)
        file.write(bytes(PAGE))
    return meta.main.root


def test_stopped_directory_is_whole_and_stays_as_it_is(data: Path) -> None:
    before = listing(data), (data / "db" / "data.mdb").read_bytes()
    done = invoke("verify", data, "--hashes")
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{data} is whole\n", "")
    assert (listing(data), (data / "db" / "data.mdb").read_bytes()) == before


@pytest.mark.usefixtures("own_process")
def test_running_server_is_verified_beside_its_work(running: Household) -> None:
    config = running.server.data.parent / "conduit.toml"
    done = invoke("verify", "-c", config)
    assert (done.exit_code, done.stdout) == (0, f"{running.server.data} is whole\n")
    running.say("still here")
    assert running.read() == running.sent
    running.server.stop()


@pytest.mark.usefixtures("own_process")
def test_nothing_to_verify(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "missing"):
        done = invoke("verify", directory)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == f"{directory} holds no database: db/data.mdb is missing\n"


def test_file_that_was_cut_off(data: Path) -> None:
    path = data / "db" / "data.mdb"
    meta = max(read_metas(path), key=lambda meta: meta.transaction)
    os.truncate(path, meta.last_page * PAGE)
    done = invoke("verify", data)
    assert done.exit_code == 1
    assert "its end is missing" in done.stdout
    assert done.stdout.endswith(f"{data} is damaged: put back a copy that is whole\n")


def test_page_that_was_lost(data: Path) -> None:
    page = damage(data)
    done = invoke("verify", data)
    assert done.exit_code == 1
    assert f"problem: the list of trees: page {page} says that it is page 0\n" in done.stdout


def test_event_that_was_changed(data: Path) -> None:
    """Its page is as it should be: only the event's own hash tells."""
    path = data / "db" / "data.mdb"
    raw = path.read_bytes()
    assert b"y" * 5000 in raw
    path.write_bytes(raw.replace(b"y" * 5000, b"z" * 5000))
    done = invoke("verify", data)
    assert done.exit_code == 1
    assert "problem: shorteventid_pdu: " in done.stdout


def test_rows_that_disagree_and_rows_of_others(data: Path) -> None:
    write_fact(data, "schema", b"99")
    done = invoke("verify", data)
    assert done.exit_code == 1
    assert "the database has schema 99, and this version of the program knows schemas up to" in done.stdout
    write_fact(data, "product", b"other")
    assert "the database belongs to another program" in invoke("verify", data).stdout


def test_older_schema_is_checked_as_far_as_it_can_be(data: Path) -> None:
    write_fact(data, "schema", b"0")
    done = invoke("verify", data)
    assert done.exit_code == 0
    assert "note: the database has a schema before" in done.stdout


def test_many_problems_are_not_all_said(data: Path) -> None:
    batch = WriteBatch()
    for number in range(FINDINGS_MAX + 50):
        batch.put(rooms.PUBLICROOMIDS, rooms.ByRoom(rooms.ShortRoomId(number)), None)
    write_row(data, batch)
    lines = invoke("verify", data).stdout.splitlines()
    assert len(lines) == FINDINGS_MAX + 2
    assert lines[-2] == "problem: and at least one more of the kind"


def test_media_that_are_missing_or_changed(data: Path) -> None:
    small, large = sorted(media_files(data), key=lambda path: path.stat().st_size)
    content = small.read_bytes()
    large.unlink()
    small.write_bytes(content[:-1])
    done = invoke("verify", data)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        *sorted(
            (
                f"media: the media file {''.join(large.parts[-3:])} is missing",
                f"media: the media file {''.join(small.parts[-3:])} has 3003 bytes instead of 3004",
            ),
            key=lambda line: line.split("file ")[1],
        ),
        f"the database in {data} is whole, and media files are missing or damaged",
    ]
    small.write_bytes(content[:-1] + b"!")
    assert "has another content" not in invoke("verify", data).stdout
    assert f"{''.join(small.parts[-3:])} has another content" in invoke("verify", data, "--hashes").stdout


def test_media_directory_that_is_missing(data: Path) -> None:
    shutil.rmtree(data / "media")
    done = invoke("verify", data)
    assert done.exit_code == 1
    assert "media: 2 media files are missing: there is no directory" in done.stdout


def test_media_in_another_structure_are_found(data: Path) -> None:
    for path in media_files(data):
        path.rename(data / "media" / "".join(path.parts[-3:]))
    assert invoke("verify", data).exit_code == 0


def test_media_of_nothing_are_noted(data: Path) -> None:
    stray = data / "media" / "ab" / "cd" / ("0" * 60)
    stray.parent.mkdir(parents=True)
    stray.touch()
    done = invoke("verify", data)
    assert done.exit_code == 0
    assert done.stdout.startswith("note: 1 media files belong to nothing in the database")


@pytest.mark.usefixtures("own_process")
async def test_death_of_the_process_is_a_sentence(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What LMDB might still do, done by the process to itself."""
    boot = "import os; os.kill(os.getpid(), {})"
    monkeypatch.setattr("conduit_py.service.backup.apart._BOOT", boot.format(int(signal.SIGBUS)))
    told: list[Message] = []
    report = await verify(data, tell=told.append)
    sentence = "the database cannot be read to its end: the process that did was ended by SIGBUS"
    assert report == Report((sentence,), (), ())
    assert told == [Finding(Kind.PROBLEM, sentence)]
    monkeypatch.setattr("conduit_py.service.backup.apart._BOOT", boot.format(int(signal.SIGKILL)))
    with pytest.raises(Died, match="was ended by SIGKILL"):
        await verify(data)
    monkeypatch.setattr("conduit_py.service.backup.apart._BOOT", "raise ValueError('odd')")
    report = await verify(data)
    assert report.problems == (
        "the database cannot be read to its end: the process that did ended early: ValueError: odd",
    )


def test_terminal_sees_bars(data: Path) -> None:
    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "conduit_py", "verify", str(data)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=secondary, check=False)
    os.close(secondary)
    shown = os.read(primary, 1 << 16)
    os.close(primary)
    assert (done.returncode, done.stdout) == (0, f"{data} is whole\n".encode())
    assert b"rows" in shown
    assert b"100%" in shown


@pytest.mark.slow
def test_archive_that_nobody_can_import_by_name(data: Path, tmp_path: Path) -> None:
    """A zipapp puts the program on its own module path, where a fresh Python would not look."""
    program = tmp_path / "program"
    program.mkdir()
    for package in ("conduit_py", "kvschema"):
        shutil.copytree(ROOT / package, program / package, ignore=shutil.ignore_patterns("__pycache__"))
    source = program / "conduit_py" / "service" / "backup" / "verify.py"
    source.write_text(source.read_text().replace("belong to nothing", "are strays to the archive"))
    (data / "media" / "ab" / "cd").mkdir(parents=True)
    (data / "media" / "ab" / "cd" / ("0" * 60)).touch()
    zipapp.create_archive(program, tmp_path / "app.pyz", main="conduit_py.commands:main")
    shutil.rmtree(program)
    command = [sys.executable, str(tmp_path / "app.pyz"), "verify", str(data)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("note: 1 media files are strays to the archive")
