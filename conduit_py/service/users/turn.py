"""Credentials for TURN servers, through which calls get past firewalls.

Spec: client-server-api/#voice-over-ip
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha1

from conduit_py.config import Turn
from conduit_py.matrix.ids import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCredentials:
    username: str
    password: str = field(repr=False)
    uris: tuple[str, ...]
    ttl_s: int


class TurnService:
    """One per server."""

    def __init__(self, config: Turn | None, *, now_ms: Callable[[], int]) -> None:
        self._config = config
        self._now_ms = now_ms

    def replace(self, config: Turn | None) -> None:
        """Other servers from now on."""
        self._config = config

    def get_credentials(self, user_id: UserId) -> TurnCredentials | None:
        """What the user's clients log in with; None where there are no TURN servers.

        With a shared secret the user name carries the time at which it ends, and the password is its HMAC-SHA1: the
        scheme that TURN servers call the REST API.
        """
        config = self._config
        if config is None:
            return None
        if config.secret is None:
            username, password = config.username or "", config.password or ""
        else:
            username = f"{self._now_ms() // 1000 + config.ttl}:{user_id}"
            password = b64encode(hmac.new(config.secret.encode(), username.encode(), sha1).digest()).decode()
        return TurnCredentials(username=username, password=password, uris=config.uris, ttl_s=config.ttl)
