"""The command line: reads the configuration, starts the server, says where it listens."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click
import trio

from conduit_py import __version__
from conduit_py.config import ConfigError, load_config
from conduit_py.log import setup_logging
from conduit_py.server import Started, serve
from kvschema.errors import StorageError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The configuration file. Default: what CONDUIT_CONFIG names; without it, defaults and CONDUIT_* variables.",
)
@click.version_option(__version__, prog_name="conduit_py")
def main(config_path: Path | None) -> None:
    """A Matrix homeserver for one person, a family, a club."""
    try:
        loaded = load_config(config_path, os.environ)
    except (ConfigError, OSError) as error:
        _refuse(str(error))
    setup_logging(loaded.config.log, loaded.config.log_format)
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    try:
        trio.run(serve, loaded.config, _greet)
    except* (StorageError, OSError) as group:
        _refuse("\n".join(str(error) for error in _leaves(group)))


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


def _refuse(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
