"""``backup`` and ``verify`` as administrators' commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from conduit_py.config import load_config
from conduit_py.service.admin.commands import Answer, Call, Dispatcher
from conduit_py.service.admin.copies import build_copy_commands
from tests.backup.household import media_files
from tests.backup.test_verify import damage
from tests.commands.invoking import invoke


@pytest.fixture
def dispatcher(data: Path) -> Dispatcher:
    variables = {"CONDUIT_SERVER_NAME": "one.test", "CONDUIT_DATABASE_PATH": str(data)}
    return Dispatcher({"Copies": build_copy_commands(load_config(None, variables).config)}, new_id=lambda: "1")


async def ask(dispatcher: Dispatcher, *words: str, told: list[tuple[int, int]] | None = None) -> Answer:
    seen = [] if told is None else told
    return await dispatcher.run(words, Call(report=lambda done, total: seen.append((done, total))))


async def test_backup_is_made_and_reported(dispatcher: Dispatcher, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    answer = await ask(dispatcher, "backup", str(tmp_path / "backup"), told=told)
    assert answer.ok
    assert answer.text.startswith(f"The backup is made. {tmp_path / 'backup'}: the database with ")
    assert told[-1] == (2, 2)
    assert (await trio.to_thread.run_sync(invoke, "verify", tmp_path / "backup")).exit_code == 0


async def test_backup_that_cannot_be_made_is_refused(dispatcher: Dispatcher, data: Path) -> None:
    answer = await ask(dispatcher, "backup", "backups/one")
    assert (answer.ok, "must be an absolute path" in answer.text) == (False, True)
    answer = await ask(dispatcher, "backup", str(data / "inside"))
    assert (answer.ok, "is inside of" in answer.text) == (False, True)
    assert not (data / "inside").exists()


async def test_verify_says_what_is_so(dispatcher: Dispatcher, data: Path) -> None:
    answer = await ask(dispatcher, "verify", "--hashes")
    assert (answer.ok, answer.text) == (True, "Everything is whole.")
    lost = media_files(data)[0]
    lost.unlink()
    answer = await ask(dispatcher, "verify")
    assert not answer.ok
    assert answer.text == (
        f"media: the media file {''.join(lost.parts[-3:])} is missing\n"
        "The database is whole; media files are missing or damaged."
    )
    damage(data)
    answer = await ask(dispatcher, "verify")
    assert not answer.ok
    assert answer.text.endswith("\nThe database is damaged: put back a backup that is whole.")


@pytest.mark.usefixtures("own_process")
async def test_one_at_a_time(dispatcher: Dispatcher) -> None:
    answers: list[Answer] = []

    async def verify() -> None:
        answers.append(await ask(dispatcher, "verify"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(verify)
        nursery.start_soon(verify)
    refused, done = answers
    assert refused.text == "A backup or verification is under way already: wait until it is done."
    assert (refused.ok, done.ok) == (False, True)
