"""``backup``: copy everything while the server runs, or while it does not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from conduit_py.commands.configuration import read_configuration
from conduit_py.commands.options import Refused, config_option
from conduit_py.commands.progress import Bars
from conduit_py.commands.running import run
from conduit_py.service.backup.make import MediaChoice, make_backup
from conduit_py.service.backup.messages import Impossible


@click.command
@click.argument("destination", type=click.Path(path_type=Path))
@click.option(
    "--media",
    "media",
    type=click.Choice([str(choice) for choice in MediaChoice]),
    default=str(MediaChoice.LINK),
    show_default=True,
    help="Media files: link them where the disk can and else copy them, always copy them, or only list them.",
)
@config_option
def command(config_path: Path | None, destination: Path, media: str) -> None:
    """Make a backup in the new directory DESTINATION. The server may be running.

    It holds everything but the configuration, and is itself a data directory that a server can be started on.
    """
    config = read_configuration(config_path).config
    with Bars() as bars:
        work = partial(
            make_backup,
            config.database_path,
            destination,
            media_path=config.media.path,
            structure=config.media.directory_structure,
            media_choice=MediaChoice(media),
            tell=bars.tell,
        )
        try:
            made = run(work)
        except (Impossible, OSError) as error:
            raise Refused(str(error)) from None
    click.echo(made.summary())
