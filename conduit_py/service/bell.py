"""Tells a task that there is something to do. What there is to do stands in the store."""

from __future__ import annotations

import trio


class Bell:
    """One task waits, others ring. Rings while nobody waits are one ring."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """There is something to do. Must not be called from another thread."""
        self._rung.set()

    async def wait(self) -> None:
        """Return when it was rung since the last time."""
        await self._rung.wait()
        self._rung = trio.Event()
