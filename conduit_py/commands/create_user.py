"""``create-user``: make an account, also the first."""

from __future__ import annotations

from pathlib import Path

import click

from conduit_py.commands.configuration import read_configuration
from conduit_py.commands.options import config_option, password_option
from conduit_py.commands.talking import give


@click.command
@click.argument("username")
@click.option("--admin", "is_admin", is_flag=True, help="Make the user an administrator.")
@password_option
@config_option
def command(config_path: Path | None, username: str, is_admin: bool, password: str | None) -> None:
    """Make an account. The server may be running or not.

    Without a password one is made up and shown.
    """
    words = ["create-user", *(["--admin"] if is_admin else []), "--", username]
    config = read_configuration(config_path).config
    give(config, [*words, *([] if password is None else [password])], secret_name="Password")
