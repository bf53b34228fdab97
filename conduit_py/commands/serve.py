"""``serve``: start the server and say where it listens."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from conduit_py import __version__
from conduit_py.commands.configuration import read_configuration, say_what_is_odd
from conduit_py.commands.options import Refused, config_option
from conduit_py.commands.running import run
from conduit_py.config import load_config
from conduit_py.log import setup_logging
from conduit_py.server import Started, serve
from kvschema.errors import StorageError


@click.command(short_help="Run the server. The default.")
@config_option
def command(config_path: Path | None) -> None:
    """Run the server until it is told to stop (SIGTERM, SIGINT). This is the default.

    SIGHUP makes it read the configuration again; its log says which keys need a restart.
    """
    loaded = read_configuration(config_path)
    setup_logging(loaded.config.log, loaded.config.log_format)
    say_what_is_odd(loaded)
    try:
        run(serve, loaded.config, _greet, lambda: load_config(loaded.path, os.environ))
    except* (StorageError, OSError) as group:
        raise Refused("\n".join(str(error) for error in _leaves(group))) from None


def _greet(started: Started) -> None:
    click.echo(f"conduit_py {__version__}, server_name {started.server_name}")
    for address in started.addresses:
        click.echo(f"listening on {address}")
    if started.admin_token is not None:
        click.echo(
            "There is no administrator yet. Register an account with this one-time registration token, and it becomes\n"
            "the administrator (in a client: choose your server by the address above, then Create account):\n\n"
            f"    {started.admin_token}\n"
        )
    click.echo("READY")
    sys.stdout.flush()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
