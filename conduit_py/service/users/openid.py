"""OpenID tokens: a user proves to another service who it is, without giving it access to the account.

A token begins with the number under which the store knows its user, so that what each user has stays bounded.

Spec: client-server-api/#openid
"""

from __future__ import annotations

from dataclasses import dataclass, field

from conduit_py.data import openid_tokens, short_ids, tokens, users
from conduit_py.matrix.ids import UserId
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import new_token
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import OPENID_TOKENS_PER_USER_MAX, OpenIdToken

_NUMBER_DIGITS_MAX = 16


@dataclass(frozen=True, slots=True)
class GrantedOpenIdToken:
    token: str = field(repr=False)
    expires_in_s: int


class OpenIdService:
    """One per server.

    :param ttl_s: how long a token is valid.
    """

    def __init__(self, store: Store, *, ttl_s: int) -> None:
        self._store = store
        self._ttl_s = ttl_s

    async def request_token(self, requester: Requester, user_id: str) -> GrantedOpenIdToken:
        """A new token; the user's oldest goes if there are too many. Raises ``Forbidden`` for somebody else."""
        requester.require_self(user_id, "request OpenID tokens")
        token = f"{requester.user:x}.{new_token()}"
        row = OpenIdToken(self._store.now_ms() + self._ttl_s * 1000)
        async with self._store.locks.hold(("openid", requester.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                there = list(openid_tokens.scan_of_user(snapshot, requester.user))
            there.sort(key=lambda entry: entry[1].expires_ms)
            for key, _ in there[: max(0, len(there) - OPENID_TOKENS_PER_USER_MAX + 1)]:
                openid_tokens.stage_removed(turn, key)
            openid_tokens.stage_token(turn, requester.user, tokens.hash_token(token), row)
        return GrantedOpenIdToken(token, self._ttl_s)

    def get_user(self, token: str) -> UserId | None:
        """Whom the token proves somebody to be. None if it proves nothing (any more).

        Spec: server-server-api/#get_matrixfederationv1openiduserinfo
        """
        number = token.partition(".")[0]
        if not number.isalnum() or not number.isascii() or len(number) > _NUMBER_DIGITS_MAX:
            return None
        try:
            user = ShortUserId(int(number, 16))
        except ValueError:
            return None
        with self._store.snapshot() as snapshot:
            row = openid_tokens.get_token(snapshot, user, tokens.hash_token(token))
            account = users.get_account(snapshot, user)
            if row is None or row.expires_ms <= self._store.now_ms():
                return None
            if account is None or account.is_deactivated or account.is_locked:
                return None
            return short_ids.get_user_id(snapshot, user)
