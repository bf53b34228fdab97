"""Access and refresh tokens. Only their SHA-256 is stored: a stolen copy of the database opens no session."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import cast

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import ByTokenHash, LoginToken, Token, UserDeviceToken

_CACHED_BYTES = 400


def hash_token(token: str) -> bytes:
    """Tokens are random and long, so a fast hash without salt is enough."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def get_token(snapshot: Snapshot, token_hash: bytes) -> Token | None:
    cached = snapshot.cache.get(("token", token_hash), snapshot.pos)
    if cached is None:
        cached = users.TOKEN_USERDEVICEID.get(snapshot, ByTokenHash(token_hash))
        if cached is not None:
            snapshot.cache.put(("token", token_hash), cached, _CACHED_BYTES, snapshot.pos)
    return cast("Token | None", cached)


def scan_of_device(snapshot: Snapshot, user: ShortUserId, device_id: str) -> Iterator[tuple[bytes, Token]]:
    """The tokens of one device with their hashes."""
    for key in users.USERDEVICEID_TOKEN.scan_keys(snapshot, user, device_id):
        token = users.TOKEN_USERDEVICEID.get(snapshot, ByTokenHash(key.token_hash))
        assert token is not None, "a device has a token that is not there"
        yield key.token_hash, token


def scan_tokens(snapshot: Snapshot, *, after: bytes | None = None) -> Iterator[tuple[bytes, Token]]:
    """All tokens, in the order of their hashes, past the hash ``after``."""
    start = None if after is None else ByTokenHash(after)
    for key, token in users.TOKEN_USERDEVICEID.scan(snapshot, after=start):
        yield key.token_hash, token


def scan_login_tokens(snapshot: Snapshot, *, after: bytes | None = None) -> Iterator[tuple[bytes, LoginToken]]:
    """All login tokens, in the order of their hashes, past the hash ``after``."""
    start = None if after is None else ByTokenHash(after)
    for key, token in users.LOGINTOKEN_EXPIRESATUSERID.scan(snapshot, after=start):
        yield key.token_hash, token


def get_login_token(snapshot: Snapshot, token_hash: bytes) -> LoginToken | None:
    return users.LOGINTOKEN_EXPIRESATUSERID.get(snapshot, ByTokenHash(token_hash))


def stage_login_token(turn: Turn, token_hash: bytes, token: LoginToken) -> None:
    turn.batch.put(users.LOGINTOKEN_EXPIRESATUSERID, ByTokenHash(token_hash), token)


def stage_login_token_used(turn: Turn, token_hash: bytes, token: LoginToken) -> None:
    """Of two batches that use the same token, the second is refused (``PreconditionFailed``)."""
    turn.batch.require(users.LOGINTOKEN_EXPIRESATUSERID, ByTokenHash(token_hash), token)
    turn.batch.delete(users.LOGINTOKEN_EXPIRESATUSERID, ByTokenHash(token_hash))


def stage_login_token_removed(turn: Turn, token_hash: bytes) -> None:
    turn.batch.delete(users.LOGINTOKEN_EXPIRESATUSERID, ByTokenHash(token_hash))


def stage_token(turn: Turn, token_hash: bytes, token: Token) -> None:
    turn.changes(("token", token_hash))
    turn.batch.put(users.TOKEN_USERDEVICEID, ByTokenHash(token_hash), token)
    turn.batch.put(users.USERDEVICEID_TOKEN, UserDeviceToken(token.user, token.device_id, token_hash), None)


def stage_removed(turn: Turn, token_hash: bytes, token: Token) -> None:
    turn.changes(("token", token_hash))
    turn.batch.delete(users.TOKEN_USERDEVICEID, ByTokenHash(token_hash))
    turn.batch.delete(users.USERDEVICEID_TOKEN, UserDeviceToken(token.user, token.device_id, token_hash))


def stage_device_closed(snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: str) -> None:
    """Remove every token of a device."""
    for token_hash, token in scan_of_device(snapshot, user, device_id):
        stage_removed(turn, token_hash, token)
