"""``admin``, ``create-user`` and ``reset-password`` where no server runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from conduit_py.commands import main
from conduit_py.storage.database import claim_directory
from tests.commands.invoking import invoke
from tests.rig.process import check_files


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "conduit.toml"
    path.write_text(
        f'server_name = "one.test"\ndatabase_path = "{tmp_path / "data"}"\ndatabase_reserve_mb = 1\n'
        "[password_hash]\ntime = 1\nmemory = 8192\n"
    )
    return path


def test_first_account_is_made_without_a_server(config: Path, tmp_path: Path) -> None:
    made = invoke("create-user", "alice", "--admin", "-c", config)
    assert made.exit_code == 0, made.stderr
    assert made.stdout.startswith("Made the account @alice:one.test, an administrator.\nPassword: ")
    listed = invoke("-c", config, "admin", "list-admins")
    assert listed.stdout == "Found 1 administrator:\n@alice:one.test (administrator)\n"
    assert check_files(tmp_path / "data") == []


def test_command_may_be_one_text_or_words(config: Path) -> None:
    for words in (["list-devices nobody"], ["list-devices", "nobody"]):
        done = invoke("admin", "-c", config, *words)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == "There is no account nobody on this server.\n"


def test_help_of_a_command_is_that_of_the_command(config: Path) -> None:
    assert "Usage: deactivate-user" in invoke("admin", "-c", config, "deactivate-user", "--help").stdout
    assert "conduit_py admin help" in invoke("admin", "--help").stdout


def test_password_is_read_from_standard_input(config: Path) -> None:
    made = CliRunner().invoke(main, ["create-user", "-c", str(config), "alice", "--password-stdin"], input="-h\n")
    assert (made.exit_code, made.stdout) == (0, "Made the account @alice:one.test.\n")
    none = CliRunner().invoke(main, ["reset-password", "-c", str(config), "alice", "--password-stdin"], input="")
    assert none.exit_code == 1


def test_reset_password_shows_the_new_one(config: Path) -> None:
    invoke("create-user", "-c", config, "alice")
    reset = invoke("reset-password", "-c", config, "alice")
    assert reset.stdout.startswith("@alice:one.test has a new password.\nPassword: ")
    assert invoke("reset-password", "-c", config, "bob").exit_code == 1


def test_directory_that_something_else_has_open_is_left_alone(config: Path, tmp_path: Path) -> None:
    lock = claim_directory(tmp_path / "data")
    try:
        done = invoke("admin", "-c", config, "list-admins")
    finally:
        os.close(lock)
    assert done.exit_code == 1
    assert "another server is running" in done.stderr
