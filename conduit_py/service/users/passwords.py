"""Password hashes: argon2id, in threads of their own, one or two at a time.

Spec: client-server-api/#password-management
"""

from __future__ import annotations

import base64
import secrets
from functools import partial

import trio
from argon2 import DEFAULT_HASH_LENGTH, DEFAULT_RANDOM_SALT_LENGTH, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from conduit_py.config import PasswordHash
from conduit_py.observe.requests import WORKERS, timed
from conduit_py.service.errors import InvalidParam, MatrixError

PASSWORD_BYTES_MAX = 4096


class Passwords:
    """Hashes and verifies. One per server.

    :param limiter: bounds the hashes that are computed at once, each taking ``cost.memory``; None computes on the
        event loop, for tests with hashes that cost next to nothing.
    """

    def __init__(self, cost: PasswordHash, limiter: trio.CapacityLimiter | None) -> None:
        self._hasher = PasswordHasher(time_cost=cost.time, memory_cost=cost.memory, parallelism=cost.parallelism)
        self._limiter = limiter
        self._decoy = _make_up_hash(cost)

    def check_new(self, password: str) -> None:
        """Raises ``M_WEAK_PASSWORD`` for no password at all and ``InvalidParam`` for one that is absurdly long."""
        if not password:
            raise MatrixError("The password must not be empty", errcode="M_WEAK_PASSWORD", status=400)
        if len(password.encode()) > PASSWORD_BYTES_MAX:
            raise InvalidParam(f"The password must not be longer than {PASSWORD_BYTES_MAX} bytes")

    async def hash(self, password: str) -> str:
        """The hash in PHC format."""
        if self._limiter is None:
            return self._hasher.hash(password)
        with timed(WORKERS):
            return await trio.to_thread.run_sync(self._hasher.hash, password, limiter=self._limiter)

    async def verify(self, password_hash: str, password: str) -> bool:
        """Does ``password`` open the account? An empty hash never matches, after the same time."""
        is_real = bool(password_hash)
        check = partial(self._matches, password_hash or self._decoy, password[:PASSWORD_BYTES_MAX])
        if self._limiter is None:
            matches = check()
        else:
            with timed(WORKERS):
                matches = await trio.to_thread.run_sync(check, limiter=self._limiter)
        return matches and is_real

    def is_outdated(self, password_hash: str) -> bool:
        """Was it made with another cost than is configured now?"""
        return self._hasher.check_needs_rehash(password_hash)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def _make_up_hash(cost: PasswordHash) -> str:
    """A hash of nothing, which takes as long to verify as any other, and no time to make. Format: RFC 9106, PHC."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()
        for size in (DEFAULT_RANDOM_SALT_LENGTH, DEFAULT_HASH_LENGTH)
    )
    return f"$argon2id$v=19$m={cost.memory},t={cost.time},p={cost.parallelism}${salt}${digest}"
