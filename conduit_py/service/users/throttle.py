"""Where attempts are counted, so that nobody can try passwords or make accounts without end."""

from __future__ import annotations

from collections.abc import Callable, Hashable

Throttle = Callable[[tuple[str, Hashable]], None]
"""Count one attempt under a key such as ``("login", address)``. Raises ``LimitExceeded``."""
