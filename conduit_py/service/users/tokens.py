"""Access and refresh tokens: handing them out, exchanging them, and finding who they belong to.

A refreshed pair ``replaces`` the refresh token it was handed out for. Until one of the two is used, the old tokens stay
valid, so a client that never got the answer can ask again; the first use removes them.

Spec: client-server-api/#using-access-tokens
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from typing import Final

import trio

from conduit_py.data import tokens, users
from conduit_py.matrix.ids import DeviceId, UserId
from conduit_py.service.errors import MatrixError, UnknownToken
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Account, Token
from kvschema.errors import StorageFull

_TOKEN_BYTES: Final = 32
USED_MAX: Final = 1000
"""Tokens whose first use waits to be written. One more is written at its next use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a client is given to prove later who it is."""

    access_token: str
    refresh_token: str | None = None
    expires_in_ms: int | None = None


def account_key(user: ShortUserId) -> tuple[str, ShortUserId]:
    """The lock under which an account, its devices and its tokens are changed."""
    return ("account", user)


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


class TokenService:
    """One per server. ``run`` is owned by the nursery tree.

    :param ttl_ms: how long an access token of a client that can refresh it is valid; None for ever.
    """

    def __init__(self, store: Store, *, ttl_ms: int | None) -> None:
        self._store = store
        self._ttl_ms = ttl_ms
        self._used: dict[bytes, ShortUserId] = {}
        self._has_used = trio.Event()

    def stage_tokens(
        self,
        turn: Turn,
        user_id: UserId,
        user: ShortUserId,
        device_id: DeviceId,
        *,
        may_refresh: bool,
        replaces: bytes = b"",
    ) -> Tokens:
        """Make tokens for a device. Without ``may_refresh``, or a lifetime to refresh after, there is only one."""
        access = new_token()
        if not may_refresh or self._ttl_ms is None:
            tokens.stage_token(turn, tokens.hash_token(access), Token(user_id, user, device_id, replaces=replaces))
            return Tokens(access_token=access)
        refresh = new_token()
        expires_ms = self._store.now_ms() + self._ttl_ms
        tokens.stage_token(
            turn, tokens.hash_token(access), Token(user_id, user, device_id, expires_ms, replaces=replaces)
        )
        tokens.stage_token(
            turn, tokens.hash_token(refresh), Token(user_id, user, device_id, is_refresh=True, replaces=replaces)
        )
        return Tokens(access_token=access, refresh_token=refresh, expires_in_ms=self._ttl_ms)

    def authenticate(self, access_token: str, *, may_be_locked: bool = False) -> Requester:
        """Who the token belongs to. Raises ``UnknownToken``, and ``M_USER_LOCKED`` unless ``may_be_locked``."""
        token_hash = tokens.hash_token(access_token)
        with self._store.snapshot() as snapshot:
            token = tokens.get_token(snapshot, token_hash)
            account = None if token is None else users.get_account(snapshot, token.user)
        if token is None or account is None or token.is_refresh or account.is_deactivated:
            raise UnknownToken("Unknown access token", extra={"soft_logout": False})
        if token.expires_ms and token.expires_ms <= self._store.now_ms():
            raise UnknownToken("The access token has expired", extra={"soft_logout": True})
        if account.is_locked and not may_be_locked:
            raise user_locked()
        if token.replaces and len(self._used) < USED_MAX:
            self._used[token_hash] = token.user
            self._has_used.set()
        return _requester(token, account)

    async def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token for a new pair. Raises ``UnknownToken``.

        Spec: client-server-api/#refreshing-access-tokens
        """
        token_hash = tokens.hash_token(refresh_token)
        # A token whose successor was used is no longer there to be exchanged.
        await self.confirm_used()
        with self._store.snapshot() as snapshot:
            token = tokens.get_token(snapshot, token_hash)
        if token is None:
            raise _unknown_refresh_token()
        async with self._store.locks.hold(account_key(token.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                token = tokens.get_token(snapshot, token_hash)
                account = None if token is None else users.get_account(snapshot, token.user)
                if token is None or account is None or not token.is_refresh or account.is_deactivated:
                    raise _unknown_refresh_token()
                if account.is_locked:
                    raise user_locked()
                stage_confirmed(snapshot, turn, token_hash)
                for other_hash, other in list(tokens.scan_of_device(snapshot, token.user, token.device_id)):
                    if other.replaces == token_hash:
                        tokens.stage_removed(turn, other_hash, other)
            return self.stage_tokens(
                turn,
                UserId(token.user_id),
                token.user,
                DeviceId(token.device_id),
                may_refresh=True,
                replaces=token_hash,
            )

    async def confirm_used(self) -> None:
        """Remove what new tokens replace that were used since the last time: the client has got them."""
        while self._used:
            token_hash, user = self._used.popitem()
            async with self._store.locks.hold(account_key(user)), self._store.writer.turn(may_use_reserve=True) as turn:
                with self._store.snapshot() as snapshot:
                    stage_confirmed(snapshot, turn, token_hash)

    async def run(self) -> None:
        """Calls ``confirm_used`` as soon as there is something. What a restart forgets, the next use tells again."""
        while True:
            await self._has_used.wait()
            self._has_used = trio.Event()
            with contextlib.suppress(StorageFull):
                await self.confirm_used()


def stage_confirmed(snapshot: Snapshot, turn: Turn, token_hash: bytes) -> None:
    """Remove what a token replaces, now that it was used; its twin replaces nothing any more either."""
    token = tokens.get_token(snapshot, token_hash)
    if token is None or not token.replaces:
        return
    for other_hash, other in list(tokens.scan_of_device(snapshot, token.user, token.device_id)):
        if other.replaces == token.replaces:
            tokens.stage_token(turn, other_hash, other._replace(replaces=b""))
        else:
            tokens.stage_removed(turn, other_hash, other)


def user_locked() -> MatrixError:
    """Spec: client-server-api/#account-locking"""
    return MatrixError("This account has been locked", errcode="M_USER_LOCKED", status=401, extra={"soft_logout": True})


def _unknown_refresh_token() -> UnknownToken:
    return UnknownToken("Unknown refresh token", extra={"soft_logout": False})


def _requester(token: Token, account: Account) -> Requester:
    return Requester(
        user_id=UserId(token.user_id),
        user=token.user,
        device_id=DeviceId(token.device_id),
        is_admin=account.is_admin,
        is_guest=account.is_guest,
        is_suspended=account.is_suspended,
    )
