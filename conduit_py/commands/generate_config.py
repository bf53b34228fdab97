"""``generate-config``: the sample configuration, to be edited."""

from __future__ import annotations

import os
from pathlib import Path

import click

from conduit_py.commands.options import Refused
from conduit_py.config import render_sample

_MODE = 0o600
"""Passwords and tokens will stand in it."""


@click.command(short_help="Write a configuration with every key.")
@click.argument("output", required=False, type=click.Path(path_type=Path))
def command(output: Path | None) -> None:
    """Write a configuration with every key, commented out at its default.

    It goes to the file OUTPUT, which must not exist yet, or else to standard output.
    """
    if output is None:
        click.echo(render_sample(), nl=False)
        return
    try:
        with open(output, "x", opener=lambda path, flags: os.open(path, flags, _MODE)) as file:
            file.write(render_sample())
    except FileExistsError:
        raise Refused(f"{output} is there already; nothing was written") from None
    except OSError as error:
        raise Refused(f"{output} cannot be written: {error.strerror}") from None
    click.echo(f"{output} is written: set server_name in it before the first start", err=True)
