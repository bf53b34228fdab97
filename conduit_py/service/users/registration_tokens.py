"""Tokens that administrators make for people to register with: for some accounts, for some time.

Spec: client-server-api/#token-authenticated-registration
"""

from __future__ import annotations

from conduit_py.data import registration_tokens
from conduit_py.service.errors import InvalidParam, LimitExceeded, NotFound
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import new_token
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.users import REGISTRATION_TOKEN_BYTES_MAX, REGISTRATION_TOKENS_MAX, RegistrationToken

_LOCK = "registration_tokens"


class RegistrationTokenService:
    """One per server. For administrators, but for the first three."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def has_tokens(self) -> bool:
        """Are there any that would let somebody register now?"""
        with self._store.snapshot() as snapshot:
            return any(self._is_open(row) for _, row in registration_tokens.scan_tokens(snapshot))

    def is_valid(self, token: str) -> bool:
        """Would the token let somebody register now?"""
        with self._store.snapshot() as snapshot:
            row = registration_tokens.get_token(snapshot, token)
        return row is not None and self._is_open(row)

    def stage_used(self, snapshot: Snapshot, turn: Turn, token: str) -> bool:
        """Count the account that the batch makes. False if the token has become invalid.

        If that happens only now, the batch is refused (``PreconditionFailed``).
        """
        row = registration_tokens.get_token(snapshot, token)
        if row is None or not self._is_open(row):
            return False
        registration_tokens.stage_changed(turn, token, row, row._replace(uses=row.uses + 1))
        return True

    def get_tokens(self) -> dict[str, RegistrationToken]:
        """All tokens, those that are used up or expired too."""
        with self._store.snapshot() as snapshot:
            return dict(registration_tokens.scan_tokens(snapshot))

    async def create(self, token: str | None = None, *, uses_max: int | None = None, expires_ms: int = 0) -> str:
        """Make a token, with a text of our own making unless given. Raises ``InvalidParam``, ``LimitExceeded``.

        :param expires_ms: when it ends, in ms since 1970; 0 for never.
        """
        # In a command, what begins with a hyphen is an option.
        text = new_token().lstrip("-") if token is None else token
        if not registration_tokens.is_token(text):
            raise InvalidParam(
                f"A registration token has 1 to {REGISTRATION_TOKEN_BYTES_MAX} of the characters A-Z a-z 0-9 . _ ~ -"
            )
        if uses_max is not None and uses_max < 1:
            raise InvalidParam("A registration token must be good for one account at least")
        async with self._store.locks.hold(_LOCK), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if registration_tokens.get_token(snapshot, text) is not None:
                    raise InvalidParam("There is such a registration token already")
                if registration_tokens.count_tokens(snapshot) >= REGISTRATION_TOKENS_MAX:
                    raise LimitExceeded(f"There are {REGISTRATION_TOKENS_MAX} registration tokens already")
            row = RegistrationToken(self._store.now_ms(), uses_max=uses_max, expires_ms=expires_ms)
            registration_tokens.stage_new(turn, text, row)
        return text

    async def delete(self, token: str) -> None:
        """Raises ``NotFound``."""
        async with self._store.locks.hold(_LOCK), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if registration_tokens.get_token(snapshot, token) is None:
                    raise NotFound("There is no such registration token")
            registration_tokens.stage_removed(turn, token)

    def _is_open(self, row: RegistrationToken) -> bool:
        if row.expires_ms and row.expires_ms <= self._store.now_ms():
            return False
        return row.uses_max is None or row.uses < row.uses_max
