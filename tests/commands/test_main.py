"""Which command runs, with which configuration, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conduit_py import __version__
from conduit_py.commands import COMMANDS, main
from kvschema.catalog import SCHEMA_VERSION
from tests.commands.invoking import invoke

SHOW = "import sys, conduit_py.commands{}; sys.stdout.write(' '.join(sys.modules))"


def modules_after(command: str) -> set[str]:
    code = SHOW.format(f".{command}")
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def write_config(path: Path, server_name: str, database_path: Path) -> Path:
    path.write_text(f'server_name = "{server_name}"\ndatabase_path = "{database_path}"\n')
    return path


def test_every_command_is_there_and_says_what_it_does() -> None:
    help_text = invoke("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in help_text
    assert "..." not in help_text.partition("Commands:")[2]
    for name in COMMANDS:
        assert invoke(name, "--help").exit_code == 0


def test_commands_are_named_as_they_are_listed() -> None:
    context = main.make_context("conduit_py", ["version"])
    assert main.list_commands(context) == list(COMMANDS)
    assert main.get_command(context, "serv") is None


def test_unknown_command_is_refused() -> None:
    done = invoke("srve")
    assert done.exit_code == 2
    assert "No such command 'srve'" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("serve",)])
def test_serve_is_the_default(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """It is told to use a directory that it refuses, so it ends at once."""
    (tmp_path / "conduit.db").touch()
    config = write_config(tmp_path / "conduit.toml", "one.test", tmp_path)
    done = invoke("--config", config, *arguments)
    assert done.exit_code == 1
    assert "holds the SQLite database of Conduit" in done.stderr


def test_configuration_is_named_before_or_after_the_command(tmp_path: Path) -> None:
    one = write_config(tmp_path / "one.toml", "one.test", tmp_path / "one")
    two = write_config(tmp_path / "two.toml", "two.test", tmp_path / "two")
    assert "server_name one.test" in invoke("-c", one, "check-config").stdout
    assert "server_name one.test" in invoke("check-config", "--config", one).stdout
    assert "server_name two.test" in invoke("-c", one, "check-config", "-c", two).stdout
    assert "server_name two.test" in invoke("check-config", environment={"CONDUIT_CONFIG": str(two)}).stdout


def test_configuration_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = invoke("check-config", "-c", tmp_path / "conduit.toml")
    assert done.exit_code == 2
    assert "does not exist" in done.stderr


def test_version_says_what_a_report_needs() -> None:
    said = invoke("version").stdout.splitlines()
    assert said[:2] == [f"conduit_py {__version__}", f"database schema {SCHEMA_VERSION}"]
    assert invoke("--version").stdout == f"conduit_py, version {__version__}\n"


def test_server_does_not_carry_other_commands() -> None:
    others = {f"conduit_py.commands.{module}" for name, module in COMMANDS.items() if name != "serve"}
    assert not modules_after("serve") & others


@pytest.mark.parametrize("command", ["check_config", "generate_config", "healthcheck", "version"])
def test_small_commands_do_not_carry_the_server(command: str) -> None:
    assert not modules_after(command) & {"conduit_py.server", "trio", "quart", "hypercorn", "lmdb"}


def test_what_a_command_needs_is_not_looked_through_for_garbage() -> None:
    code = (
        "import gc, sys; from conduit_py.commands import main; looks = []; "
        "gc.callbacks.append(lambda phase, info: looks.append('conduit_py.server' in sys.modules)); "
        "main.get_command(main.make_context('conduit_py', ['serve']), 'serve'); gc.callbacks.clear(); "
        "print(True in looks, gc.isenabled(), gc.get_freeze_count() > 50_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "True"]
