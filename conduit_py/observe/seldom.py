"""A complaint that may come a thousand times a second is made now and then, with the number of those left out."""

from __future__ import annotations

from collections.abc import Callable


class Seldom:
    """Lets one through every ``every_s`` seconds and counts the others. For one thread, or where a miscount is no harm.

    ``clock`` gives seconds.
    """

    def __init__(self, every_s: float, clock: Callable[[], float]) -> None:
        self._every_s = every_s
        self._clock = clock
        self._next = 0.0
        self._left_out = 0

    def ask(self) -> int | None:
        """How many were left out since the last one that was let through; None if this one is to be left out too."""
        now = self._clock()
        if now < self._next:
            self._left_out += 1
            return None
        self._next = now + self._every_s
        left_out, self._left_out = self._left_out, 0
        return left_out
