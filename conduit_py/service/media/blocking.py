"""Work that would hold up the event loop, in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from conduit_py.observe.requests import WORKERS, timed

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Blocking:
    """Runs functions that wait for the disk or take long, as many at a time as the limiter says.

    Without a limiter they run on the event loop, which tests with a mocked clock need.
    """

    def __init__(self, limiter: trio.CapacityLimiter | None) -> None:
        self._limiter = limiter

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call the function. Cancellation takes effect before it begins or after it has ended."""
        if self._limiter is None:
            await trio.lowlevel.checkpoint()
            return function(*args)
        with timed(WORKERS):
            return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)
