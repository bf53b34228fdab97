"""``check-config``: would the server start with this?"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import click

from conduit_py.commands.configuration import read_configuration, say_what_is_odd
from conduit_py.commands.options import Refused, config_option
from conduit_py.config import Config, Tls, find_foreign_database


@click.command(short_help="Say whether the server can start.")
@click.option("--show", is_flag=True, help="Show every setting in force, secrets hidden.")
@config_option
def command(config_path: Path | None, show: bool) -> None:
    """Check the configuration, and the directories and certificates that it names.

    Ends with 0 if the server can start with it, and otherwise with 1 and everything that is wrong.
    """
    loaded = read_configuration(config_path)
    say_what_is_odd(loaded)
    problems = list(_find_problems(loaded.config))
    if problems:
        raise Refused("\n".join(problems))
    if show:
        click.echo(loaded.config.describe(), nl=False)
    place = loaded.path or "No file is named, and what the defaults and CONDUIT_* variables say"
    click.echo(f"{place} is right: server_name {loaded.config.server_name}, data in {loaded.config.database_path}")


def _find_problems(config: Config) -> Iterator[str]:
    try:
        foreign = find_foreign_database(config.database_path)
    except OSError as error:
        foreign = f"database_path {config.database_path} cannot be read: {error.strerror}"
    if foreign is not None:
        yield foreign
    else:
        yield from _find_directory_problem("database_path", config.database_path)
    if config.media.s3 is None and not config.media.path.is_relative_to(config.database_path):
        yield from _find_directory_problem("media.path", config.media.path)
    if config.tls is not None:
        yield from _find_certificate_problem(config.tls)


def _find_directory_problem(key: str, path: Path) -> Iterator[str]:
    """The server makes the directory where it is missing, and its files in it."""
    nearest = next(it for it in (path.absolute(), *path.absolute().parents) if it.exists())
    if not nearest.is_dir():
        yield f"{key} {path}: {nearest} is not a directory"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield f"{key} {path}: {nearest} is not writable by this user"


def _find_certificate_problem(tls: Tls) -> Iterator[str]:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certs, tls.key)
    except OSError as error:  # which an SSLError is as well
        yield f"tls.certs {tls.certs} and tls.key {tls.key} cannot be used: {error.strerror or error}"
