"""What is promised to whoever copies the data directory of a running server, and what is said where it is not kept.

The work is done by whoever writes: see ``kvschema.engine.pins``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from kvschema.engine.pins import CopyPromise

_log = logging.getLogger(__name__)


class CopyWatch:
    """Notes what happens to the promise of one server. Told by the writer's thread."""

    def __init__(
        self, *, seconds: int, growth_bytes: int, clock: Callable[[], float], random_mark: Callable[[], str]
    ) -> None:
        self.promise = CopyPromise(seconds, growth_bytes, clock, random_mark, self._note)
        self.cuts = 0
        """How often pages were let go that a copy may still have needed."""
        self._warned_s = -float("inf")

    def _note(self, why: str, lasted_s: float) -> None:
        self.cuts += 1
        now_s = self.promise.clock()
        # A busy server gives up a little at a time.
        if now_s < self._warned_s + self.promise.seconds:
            return
        self._warned_s = now_s
        _log.warning(
            "%s: a copy of the data directory that was begun more than %.0f s ago and still goes on is not whole, and "
            "will be refused. While so much is written, use the backup command, or raise backup.copy_growth_mb",
            why,
            lasted_s,
        )
