"""How commands read what people write, and write what people read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import click

from conduit_py.data import users
from conduit_py.matrix.house import is_server_user
from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.service.errors import Forbidden, NotFound
from conduit_py.service.users.names import find_account
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Account

_DURATION: Final = re.compile(
    r"(\d{1,9}) *(?:(s|secs?|seconds?)|(m|mins?|minutes?)|(h|hrs?|hours?)|(d|days?)|(w|weeks?))"
)
_SECONDS: Final = (1, 60, 3600, 86_400, 604_800)


def parse_duration(text: str) -> int:
    """Seconds, of a number and a unit, in short or in full. Raises ``click.UsageError``."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise click.UsageError(f"{text} is no duration: write a number and s, m, h, d or w, such as 12h or 7d")
    units = found.groups()[1:]
    return int(found[1]) * next(seconds for unit, seconds in zip(units, _SECONDS, strict=True) if unit)


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Lines with columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def require_account(snapshot: Snapshot, typed: str, server_name: ServerName) -> tuple[UserId, ShortUserId, Account]:
    """The account that an administrator means with a user name or id: one that may be changed.

    Raises ``NotFound``, and ``Forbidden`` for the server's own account.
    """
    found = find_account(snapshot, typed, server_name)
    if found is None or found[2].is_deactivated:
        raise NotFound(f"There is no account {typed} on this server")
    if is_server_user(found[0]):
        raise Forbidden(f"{found[0]} is the server's own account")
    return found


def count_admins(snapshot: Snapshot) -> int:
    return sum(1 for user_id, _, account in users.scan_accounts(snapshot) if is_admin(user_id, account))


def is_admin(user_id: UserId, account: Account) -> bool:
    """Is it a person's account with the administrators' flag?"""
    return account.is_admin and not account.is_deactivated and not is_server_user(user_id)
