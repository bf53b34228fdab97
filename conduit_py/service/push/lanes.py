"""How many gateways are asked at a time, so that one that is slow holds up neither the others nor the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

REQUESTS_MAX = 32
"""At a time, to all gateways."""
REQUESTS_PER_HOST_MAX = 8


class Lanes:
    """One per server. Remembers only hosts that are asked or waited for."""

    def __init__(self) -> None:
        self._everybody = trio.Semaphore(REQUESTS_MAX)
        self._hosts: dict[str, tuple[trio.Semaphore, list[None]]] = {}

    @asynccontextmanager
    async def hold(self, host: str) -> AsyncIterator[None]:
        """Wait for a place, first come first served, and keep it for the block."""
        semaphore, waiting = self._hosts.setdefault(host, (trio.Semaphore(REQUESTS_PER_HOST_MAX), []))
        waiting.append(None)
        try:
            async with semaphore, self._everybody:
                yield
        finally:
            waiting.pop()
            if not waiting:
                del self._hosts[host]
