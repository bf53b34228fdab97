"""What several commands have in common on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


class Refused(click.ClickException):
    """The command cannot do what it was asked to, and says so in its own words; the process ends with 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(self.message, file=file, err=True)


def _or_before(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """The file named after the command, or else before it."""
    root = context.find_root()
    return path if path is not None or root is context else root.params.get("config_path")


def config_option(function: Function) -> Function:
    """``-c``, ``--config``: the parameter ``config_path``, given before the command or after it."""
    option = click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=_or_before,
        help="The configuration file. Default: what CONDUIT_CONFIG names, or else only CONDUIT_* variables.",
    )
    return option(function)


def _read_password(context: click.Context, _: click.Parameter, is_wanted: bool) -> str | None:
    if not is_wanted:
        return None
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise Refused("there is no password on standard input")
    return password


def password_option(function: Function) -> Function:
    """``--password-stdin``: the parameter ``password``. On the command line others could read it."""
    option = click.option(
        "--password-stdin",
        "password",
        is_flag=True,
        callback=_read_password,
        help="Read the password from standard input, one line.",
    )
    return option(function)
