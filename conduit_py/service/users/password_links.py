"""Links with which people choose a password for an account that an administrator made for them or opens again.

An administrator writes in a room that others may read later, so no password is ever told there. A link is good for a
day and for one password; the newest link to an account is the only one.
"""

from __future__ import annotations

from typing import Final

from conduit_py.data import password_links, tokens, users
from conduit_py.matrix.ids import UserId
from conduit_py.service.errors import Forbidden, LimitExceeded, NotFound
from conduit_py.service.users.passwords import Passwords
from conduit_py.service.users.sessions import SessionService
from conduit_py.service.users.store import Store
from conduit_py.service.users.throttle import Throttle
from conduit_py.service.users.tokens import account_key, new_token
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import PASSWORD_LINKS_MAX, PasswordLink
from kvschema.errors import PreconditionFailed

LIFETIME_MS: Final = 24 * 3600 * 1000
PATH: Final = "/_matrix/static/client/password/"
_LOCK: Final = "password_links"


class PasswordLinks:
    """One per server.

    :param base_url: where clients reach the server.
    """

    def __init__(
        self, store: Store, sessions: SessionService, passwords: Passwords, throttle: Throttle, *, base_url: str
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._passwords = passwords
        self._throttle = throttle
        self._base_url = base_url.rstrip("/")

    async def create(self, user: ShortUserId) -> str:
        """The link with which a user chooses a password. Raises ``LimitExceeded``."""
        token = new_token()
        async with self._store.locks.hold(_LOCK), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                kept = 0
                for token_hash, row in list(password_links.scan_links(snapshot)):
                    if row.user == user or row.expires_ms <= self._store.now_ms():
                        password_links.stage_removed(turn, token_hash)
                    else:
                        kept += 1
                if kept >= PASSWORD_LINKS_MAX:
                    raise LimitExceeded(f"There are {PASSWORD_LINKS_MAX} links already that nobody has used")
            row = PasswordLink(user, self._store.now_ms() + LIFETIME_MS)
            password_links.stage_link(turn, tokens.hash_token(token), row)
        return f"{self._base_url}{PATH}?token={token}"

    def get_user_id(self, token: str, address: str) -> UserId:
        """Whose password the link changes. Raises ``NotFound`` for one that is not good any more."""
        self._throttle(("login", address))
        with self._store.snapshot() as snapshot:
            user_id, _ = self._require(snapshot, token)
        return user_id

    async def use(self, token: str, password: str, address: str) -> UserId:
        """Set the password, and close the sessions that were opened without it.

        Raises ``NotFound`` and ``M_WEAK_PASSWORD``.
        """
        self._throttle(("login", address))
        self._passwords.check_new(password)
        with self._store.snapshot() as snapshot:
            _, user = self._require(snapshot, token)
        password_hash = await self._passwords.hash(password)
        try:
            return await self._store_password(token, user, password_hash)
        except PreconditionFailed:
            raise _not_good() from None

    async def _store_password(self, token: str, user: ShortUserId, password_hash: str) -> UserId:
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                user_id, user = self._require(snapshot, token)
                account = users.get_account(snapshot, user)
                if account is None or account.is_deactivated:
                    raise Forbidden("This account has been deactivated")
                password_links.stage_used(snapshot, turn, tokens.hash_token(token))
                users.stage_account(turn, user, account._replace(password_hash=password_hash))
                self._sessions.stage_all_closed(snapshot, turn, user)
        return user_id

    def _require(self, snapshot: Snapshot, token: str) -> tuple[UserId, ShortUserId]:
        row = password_links.get_link(snapshot, tokens.hash_token(token))
        if row is None or row.expires_ms <= self._store.now_ms():
            raise _not_good()
        return password_links.get_user_id(snapshot, row), row.user


def _not_good() -> NotFound:
    return NotFound("This link was used already, or is too old. Ask for a new one.")
