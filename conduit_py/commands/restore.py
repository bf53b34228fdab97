"""``restore``: put a copy in the place of the database."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click

from conduit_py.commands.configuration import read_configuration
from conduit_py.commands.options import Refused, config_option
from conduit_py.commands.progress import Bars
from conduit_py.commands.running import run
from conduit_py.service.backup.messages import Impossible
from conduit_py.service.backup.restore import Restored, restore


@click.command(short_help="Put a copy into the data directory.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Keep the database that is there aside, and put the copy in its place.")
@config_option
def command(config_path: Path | None, source: Path, replace: bool) -> None:
    """Put the copy SOURCE into the data directory. The server must not be running.

    SOURCE is a backup, a snapshot out of the data directory, or a copy of a data directory. It is verified first, and
    stays as it is.
    """
    config = read_configuration(config_path).config
    with Bars() as bars:
        work = partial(
            restore,
            source,
            config.database_path,
            config.server_name,
            media_path=config.media.path,
            structure=config.media.directory_structure,
            may_replace=replace,
            tell=bars.tell,
        )
        try:
            restored = run(work)
        except (Impossible, OSError) as error:
            raise Refused(str(error)) from None
    click.echo(_summary(config.database_path, restored))


def _summary(directory: Path, restored: Restored) -> str:
    newest = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(restored.made_ms / 1000))
    lines = [f"{directory}: the database is as it was at {newest}, with {restored.files} media files from the copy"]
    if restored.missing:
        lines.append(
            f"{restored.missing} media files are missing: they are newer than the copy of the media, or deleted"
        )
    if restored.replaced is not None:
        lines.append(f"what was there before is in {restored.replaced}")
    lines.append(
        "at its next start the server drops one-time keys, which may have been used since; clients make new ones"
    )
    return "\n".join(lines)
