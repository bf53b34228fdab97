"""``version``: what a report of a fault should say first."""

from __future__ import annotations

import platform

import click

from conduit_py import __version__
from kvschema.catalog import SCHEMA_VERSION


@click.command(short_help="Show the versions of everything.")
def command() -> None:
    """Show the versions of the program, of its database schema, and of what it runs on."""
    click.echo(f"conduit_py {__version__}")
    click.echo(f"database schema {SCHEMA_VERSION}")
    click.echo(f"{platform.python_implementation()} {platform.python_version()}")
    click.echo(f"{platform.system()} {platform.machine()}")
