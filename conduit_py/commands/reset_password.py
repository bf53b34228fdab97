"""``reset-password``: give an account a new password."""

from __future__ import annotations

from pathlib import Path

import click

from conduit_py.commands.configuration import read_configuration
from conduit_py.commands.options import config_option, password_option
from conduit_py.commands.talking import give


@click.command(short_help="Give an account a new password.")
@click.argument("username")
@click.option("--keep-sessions", is_flag=True, help="Leave the user logged in everywhere.")
@password_option
@config_option
def command(config_path: Path | None, username: str, keep_sessions: bool, password: str | None) -> None:
    """Give an account a new password, and log the user out everywhere. The server may be running or not.

    Without a password one is made up and shown.
    """
    words = ["reset-password", *(["--keep-sessions"] if keep_sessions else []), "--", username]
    config = read_configuration(config_path).config
    give(config, [*words, *([] if password is None else [password])], secret_name="Password")
