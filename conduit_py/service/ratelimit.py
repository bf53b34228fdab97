"""How often something may be done: a bucket for each key that is refilled at a steady rate.

Spec: client-server-api/#rate-limiting
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping

from conduit_py.config import RateLimit
from conduit_py.networks import find_network
from conduit_py.service.errors import LimitExceeded

KEYS_MAX = 10_000
"""Keys remembered at a time, about 200 bytes each. Beyond it the one longest unused is forgotten, and starts full."""


class RateLimiter:
    """Counts attempts under keys whose first part names the limit, such as ``("login", address)``.

    Addresses of one network are one key (``find_network``).
    ``clock`` gives seconds. An operation without a limit is never refused, nor is what has no name after the limit's.
    """

    def __init__(
        self,
        limits: Mapping[str, RateLimit],
        clock: Callable[[], float],
        on_refused: Callable[[str], None] = lambda limit: None,
    ) -> None:
        self._on_refused = on_refused
        self._limits = limits
        self._clock = clock
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def replace(self, limits: Mapping[str, RateLimit]) -> None:
        """Other limits from now on; what was counted stays counted."""
        self._limits = limits

    def __len__(self) -> int:
        return len(self._full_at)

    def __call__(self, key: tuple[str, Hashable]) -> None:
        """Count one attempt. Raises ``LimitExceeded`` with the time to wait, and then counts nothing."""
        limit = self._limits.get(key[0])
        if limit is None or key[1] is None:
            return
        if isinstance(key[1], str) and ":" in key[1] and not key[1].startswith("@"):
            key = (key[0], find_network(key[1]))
        now = self._clock()
        interval = 1 / limit.per_second
        full_at = max(self._full_at.get(key, now), now) + interval
        wait_s = full_at - now - limit.burst * interval
        if wait_s > interval * 1e-6:
            self._on_refused(key[0])
            raise LimitExceeded(
                "Too many requests",
                extra={"retry_after_ms": math.ceil(wait_s * 1000)},
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > KEYS_MAX:
            self._full_at.popitem(last=False)
