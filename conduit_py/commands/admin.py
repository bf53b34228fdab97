"""``admin``: give the server a command, as in the Admin Room."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from conduit_py.commands.configuration import read_configuration
from conduit_py.commands.options import Refused, config_option
from conduit_py.commands.talking import give


@click.command(
    short_help="Give a command of the Admin Room.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@config_option
def command(config_path: Path | None, words: tuple[str, ...]) -> None:
    """Give the server a command, as in the Admin Room: conduit_py admin help lists them.

    COMMAND may be one text, as in conduit_py admin "list-devices alice", or words. What belongs into a code block in
    the Admin Room is read from standard input. Where no server runs, the command is done without it.
    """
    if len(words) == 1:
        try:
            words = tuple(shlex.split(words[0]))
        except ValueError as error:
            raise Refused(f"the command cannot be read: {str(error).lower()}") from None
    give(read_configuration(config_path).config, words)
