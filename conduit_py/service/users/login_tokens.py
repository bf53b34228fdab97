"""Tokens with which a session lets another client log in: for one login, within two minutes.

Spec: client-server-api/#post_matrixclientv1loginget_token
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from conduit_py.data import tokens, users
from conduit_py.matrix.ids import UserId
from conduit_py.service.errors import Forbidden
from conduit_py.service.requester import Requester
from conduit_py.service.users.reauth import Reauthentication
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import new_token
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import LoginToken

TTL_MS: Final = 120_000


@dataclass(frozen=True, slots=True)
class GrantedLoginToken:
    token: str = field(repr=False)
    expires_in_ms: int


class LoginTokenService:
    """One per server."""

    def __init__(self, store: Store, reauth: Reauthentication) -> None:
        self._store = store
        self._reauth = reauth

    async def generate(self, requester: Requester, auth: Mapping[str, Any] | None) -> GrantedLoginToken:
        """A new token. Raises ``UiaRequired`` until the password was given, for every token anew."""
        proof = await self._reauth.require(requester, auth, "generate_login_token")
        token = new_token()
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                proof.stage_used(snapshot, turn)
            row = LoginToken(requester.user_id, self._store.now_ms() + TTL_MS)
            tokens.stage_login_token(turn, tokens.hash_token(token), row)
        return GrantedLoginToken(token, TTL_MS)

    async def use(self, token: str) -> tuple[UserId, ShortUserId]:
        """Whom the token lets in; it lets in nobody again. Raises ``Forbidden``."""
        token_hash = tokens.hash_token(token)
        async with self._store.locks.hold(("login_token", token_hash)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                row = tokens.get_login_token(snapshot, token_hash)
                found = None if row is None else users.get_local(snapshot, UserId(row.user_id))
            if row is None or found is None or row.expires_ms <= self._store.now_ms():
                raise Forbidden("The login token is not valid")
            tokens.stage_login_token_used(turn, token_hash, row)
        return UserId(row.user_id), found[0]
