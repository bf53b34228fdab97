"""``compact``: give free pages of the database back to the disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from conduit_py.commands.configuration import read_configuration
from conduit_py.commands.options import Refused, config_option
from conduit_py.commands.progress import Bars
from conduit_py.commands.running import run
from conduit_py.service.backup.compact import compact
from conduit_py.service.backup.messages import Impossible


@click.command(short_help="Give back space that deletions freed.")
@config_option
def command(config_path: Path | None) -> None:
    """Give the space that deletions have freed in the database back to the disk. The server must not be running."""
    config = read_configuration(config_path).config
    with Bars() as bars:
        try:
            done = run(partial(compact, config.database_path, tell=bars.tell))
        except (Impossible, OSError) as error:
            raise Refused(str(error)) from None
    before, after = (size / 2**20 for size in (done.bytes_before, done.bytes_after))
    click.echo(f"{config.database_path}: the database took {before:,.1f} MiB and takes {after:,.1f} MiB now")
