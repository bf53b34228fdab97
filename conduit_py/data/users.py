"""Local accounts, and whether the server has its first administrator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from conduit_py.data import short_ids
from conduit_py.matrix.ids import UserId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import server, users
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.server import ByName
from kvschema.catalog.users import Account, ByUser

_CACHED_BYTES = 400
_ADMIN_TOKEN = ByName("first_admin_token")
_ADMIN_MADE = ByName("admin_made")


def get_account(snapshot: Snapshot, user: ShortUserId) -> Account | None:
    """None for remote users and for local ones that were heard of but never registered."""
    cached = snapshot.cache.get(("account", user), snapshot.pos)
    if cached is None:
        cached = users.USERID_ACCOUNT.get(snapshot, ByUser(user))
        if cached is not None:
            snapshot.cache.put(("account", user), cached, _CACHED_BYTES, snapshot.pos)
    return cast("Account | None", cached)


def get_local(snapshot: Snapshot, user_id: UserId) -> tuple[ShortUserId, Account] | None:
    """The account with this user id."""
    user = short_ids.get_user(snapshot, user_id)
    account = None if user is None else get_account(snapshot, user)
    return None if user is None or account is None else (user, account)


def scan_accounts(snapshot: Snapshot) -> Iterator[tuple[UserId, ShortUserId, Account]]:
    """Every account ever made, oldest user id first."""
    for key, account in users.USERID_ACCOUNT.scan(snapshot):
        yield short_ids.get_user_id(snapshot, key.user), key.user, account


def stage_new_account(turn: Turn, user: ShortUserId, account: Account) -> None:
    """The batch is refused (``PreconditionFailed``) if somebody else gets this name first."""
    turn.batch.require_absent(users.USERID_ACCOUNT, ByUser(user))
    stage_account(turn, user, account)


def stage_account(turn: Turn, user: ShortUserId, account: Account) -> None:
    turn.changes(("account", user))
    turn.batch.put(users.USERID_ACCOUNT, ByUser(user), account)


def is_admin_made(snapshot: Snapshot) -> bool:
    """Has the server ever had an administrator? Stays so whatever becomes of that account."""
    return server.GLOBAL.has(snapshot, _ADMIN_MADE)


def get_admin_token_hash(snapshot: Snapshot) -> bytes | None:
    """SHA-256 of the token that makes the first administrator, while there is none."""
    return server.GLOBAL.get(snapshot, _ADMIN_TOKEN)


def stage_admin_token_hash(turn: Turn, token_hash: bytes) -> None:
    """Replace the token that makes the first administrator. Refused once there is one."""
    turn.batch.require_absent(server.GLOBAL, _ADMIN_MADE)
    turn.batch.put(server.GLOBAL, _ADMIN_TOKEN, token_hash)


def stage_admin_made(turn: Turn, token_hash: bytes | None) -> None:
    """Note that the server has its administrator, and use up the token: only one batch ever gets through with this."""
    turn.batch.require_absent(server.GLOBAL, _ADMIN_MADE)
    if token_hash is not None:
        turn.batch.require(server.GLOBAL, _ADMIN_TOKEN, token_hash)
    turn.batch.delete(server.GLOBAL, _ADMIN_TOKEN)
    turn.batch.put(server.GLOBAL, _ADMIN_MADE, b"1")
