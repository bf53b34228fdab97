"""How soon after it was asked somebody is asked again: later after each failure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

REMEMBERED_MAX: Final = 20_000
"""About 200 bytes each. Beyond it the one asked longest ago is forgotten, and may be asked at once."""
DOUBLINGS_MAX: Final = 10


class Pauses:
    """``first_ms`` after an answer or a first failure, doubled with each failure that follows, up to ``longest_ms``."""

    def __init__(self, *, first_ms: int, longest_ms: int, now_ms: Callable[[], int]) -> None:
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._now_ms = now_ms
        self._asked: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._asked)

    def is_over(self, key: Hashable) -> bool:
        """May ``key`` be asked?"""
        _, until_ms = self._asked.get(key, (0, 0))
        return until_ms <= self._now_ms()

    def forget(self, key: Hashable) -> None:
        """``key`` may be asked at once, and its failures do not count any more."""
        self._asked.pop(key, None)

    def note(self, key: Hashable, *, has_failed: bool) -> None:
        """``key`` was asked just now."""
        failures, _ = self._asked.get(key, (0, 0))
        failures = failures + 1 if has_failed else 0
        pause_ms = self._first_ms << min(max(failures - 1, 0), DOUBLINGS_MAX)
        self._asked[key] = (failures, self._now_ms() + min(pause_ms, self._longest_ms))
        self._asked.move_to_end(key)
        if len(self._asked) > REMEMBERED_MAX:
            self._asked.popitem(last=False)
