"""Is registration open? The configuration says so, and administrators say otherwise while the server runs.

Closing it is kept: a restart does not open again what an administrator has closed. Opening it lasts until the next
restart, so that nobody forgets an open door; the configuration is what keeps one open.
"""

from __future__ import annotations

from conduit_py.config import Config
from conduit_py.data import admin
from conduit_py.service.users.store import Store


class RegistrationGate:
    """One per server."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._is_opened = False
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Go by what the configuration says now."""
        self.is_configured_open = config.allow_registration
        self.asks_token = config.registration_token is not None
        """Is there a token in the configuration that everybody needs who registers?"""

    @property
    def is_open(self) -> bool:
        """May anybody make an account, if no token is asked for?"""
        return self._is_opened or (self.is_configured_open and not self.is_closed)

    @property
    def is_closed(self) -> bool:
        """Did an administrator close it?"""
        with self._store.snapshot() as snapshot:
            return admin.is_registration_closed(snapshot)

    async def set(self, *, is_open: bool) -> None:
        """What an administrator wants."""
        async with self._store.writer.turn() as turn:
            admin.stage_registration_closed(turn, is_closed=not is_open)
        self._is_opened = is_open
