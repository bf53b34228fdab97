"""OpenID tokens. Only their SHA-256 is stored."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import OpenIdToken, UserTokenHash


def get_token(snapshot: Snapshot, user: ShortUserId, token_hash: bytes) -> OpenIdToken | None:
    return users.OPENIDTOKEN_EXPIRESATUSERID.get(snapshot, UserTokenHash(user, token_hash))


def scan_of_user(snapshot: Snapshot, user: ShortUserId) -> Iterator[tuple[UserTokenHash, OpenIdToken]]:
    yield from users.OPENIDTOKEN_EXPIRESATUSERID.scan(snapshot, user)


def scan_tokens(
    snapshot: Snapshot, *, after: UserTokenHash | None = None
) -> Iterator[tuple[UserTokenHash, OpenIdToken]]:
    """All of them, past the key ``after``."""
    yield from users.OPENIDTOKEN_EXPIRESATUSERID.scan(snapshot, after=after)


def stage_token(turn: Turn, user: ShortUserId, token_hash: bytes, row: OpenIdToken) -> None:
    turn.batch.put(users.OPENIDTOKEN_EXPIRESATUSERID, UserTokenHash(user, token_hash), row)


def stage_removed(turn: Turn, key: UserTokenHash) -> None:
    turn.batch.delete(users.OPENIDTOKEN_EXPIRESATUSERID, key)
