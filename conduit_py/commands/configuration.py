"""The configuration of a command, and what there is to say about it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from conduit_py.commands.options import Refused
from conduit_py.config import ConfigError, LoadedConfig, load_config


def read_configuration(path: Path | None) -> LoadedConfig:
    """Read it as the server does. Raises `Refused` with everything that is wrong."""
    try:
        return load_config(path, os.environ)
    except (ConfigError, OSError) as error:
        raise Refused(str(error)) from None


def say_what_is_odd(loaded: LoadedConfig) -> None:
    """Notes and warnings, to standard error."""
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
