"""``verify``: is a data directory, or a copy of one, whole?"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from conduit_py.commands.configuration import read_configuration
from conduit_py.commands.options import config_option
from conduit_py.commands.progress import Bars
from conduit_py.commands.running import run
from conduit_py.config import DirectoryStructure
from conduit_py.service.backup.messages import Impossible
from conduit_py.service.backup.verify import Report, verify

IMPOSSIBLE_CODE = 2


@click.command(short_help="Say whether a data directory is whole.")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--hashes", is_flag=True, help="Read every media file as well, instead of trusting its size.")
@config_option
def command(config_path: Path | None, directory: Path | None, hashes: bool) -> None:
    """Verify everything in a data directory, a backup or a snapshot.

    Without DIRECTORY it is the data directory of the configuration, and the server may be running.

    Ends with 0 if all is well, with 1 if something is damaged or missing, with 2 if there is nothing to verify.
    """
    media_path: Path | None = None
    structure: DirectoryStructure | None = None
    if directory is None:
        config = read_configuration(config_path).config
        directory, media_path = config.database_path, config.media.path
        structure = config.media.directory_structure
    with Bars() as bars:
        work = partial(
            verify, directory, media_path=media_path, structure=structure, with_hashes=hashes, tell=bars.tell
        )
        try:
            report: Report = run(work)
        except (Impossible, OSError) as error:
            click.echo(str(error), err=True)
            sys.exit(IMPOSSIBLE_CODE)
    if report.problems or report.media:
        click.echo(_bad(directory, report))
        sys.exit(1)
    click.echo(f"{directory} is whole")


def _bad(directory: Path, report: Report) -> str:
    if report.problems:
        return f"{directory} is damaged: put back a copy that is whole"
    return f"the database in {directory} is whole, and media files are missing or damaged"
