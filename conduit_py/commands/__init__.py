"""The command line: one module for each command, imported when that command is run.

To add a command: a module here with a ``click.Command`` named ``command``, and a line in `COMMANDS`. A command that
needs the configuration takes ``@configured`` of `configuration`; one that cannot do its work raises `Refused`.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click

from conduit_py import __version__
from conduit_py.commands.options import config_option

COMMANDS = {
    "serve": "serve",
    "check-config": "check_config",
    "generate-config": "generate_config",
    "admin": "admin",
    "create-user": "create_user",
    "reset-password": "reset_password",
    "backup": "backup",
    "verify": "verify",
    "restore": "restore",
    "compact": "compact",
    "healthcheck": "healthcheck",
    "version": "version",
}
"""By name, the module that holds the command. The order is that of the help."""
DEFAULT = "serve"


class _Commands(click.Group):
    """Imports a command when it is asked for: the server carries none of what the others need."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = _load(f"{__name__}.{module}").command
        return command


def _load(name: str) -> ModuleType:
    """Import a module and all that it needs. Nearly all of that stays, so the garbage collector is spared looking at it
    again and again, which takes a sixth of the time; what it does not find is one megabyte of the server.
    """
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@click.version_option(__version__, prog_name="conduit_py")
@click.pass_context
def main(context: click.Context, config_path: Path | None) -> None:
    """A Matrix homeserver for one person, a family, a club.

    Without a command it serves.
    """
    if context.invoked_subcommand is None:
        command = main.get_command(context, DEFAULT)
        assert command is not None
        with command.make_context(DEFAULT, [], parent=context) as inner:
            command.invoke(inner)
