"""Requests of servers whose key we do not have: anybody can make them, in any number of names.

Each name has to be asked for its key before anything is known of it, and a name behind which nobody answers takes its
time. Who sends such requests waits for their own, and not everybody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from conduit_py.networks import find_network
from conduit_py.service.errors import LimitExceeded

AT_ONCE_PER_ADDRESS: Final = 4
"""Servers that are asked for their keys at the same time because of requests from one address."""
WAITING_PER_ADDRESS_MAX: Final = 50
"""Such requests. Behind a proxy that is not among ``trusted_proxies``, all come from one address."""


@dataclass(slots=True)
class _Door:
    places: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(AT_ONCE_PER_ADDRESS))
    count: int = 0


class Strangers:
    """One per server."""

    def __init__(self) -> None:
        self._doors: dict[str, _Door] = {}

    def __len__(self) -> int:
        return len(self._doors)

    @asynccontextmanager
    async def admit(self, address: str) -> AsyncIterator[None]:
        """Wait for a place of those that the address has. Raises ``LimitExceeded`` if many wait already."""
        network = find_network(address)
        door = self._doors.setdefault(network, _Door())
        if door.count >= WAITING_PER_ADDRESS_MAX:
            raise LimitExceeded("too many requests of servers that are not known here: try again later")
        door.count += 1
        try:
            async with door.places:
                yield
        finally:
            door.count -= 1
            if not door.count:
                del self._doors[network]
