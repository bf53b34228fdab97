"""Can the server do its work? Asked by whatever keeps it running, so the answer costs nothing and tells no secrets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from conduit_py.storage.writer import Writer

LAG_S_MAX: Final = 2.0
"""A loop that stood still longer than this a moment ago serves nobody well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """What was found."""

    is_writing: bool
    """Is the writer alive?"""
    has_room: bool
    """Are writes accepted, or is the disk or quota full?"""
    lag_s: float
    """The longest turn of the event loop of the last seconds."""

    @property
    def is_ready(self) -> bool:
        return self.is_writing and self.has_room and self.lag_s <= LAG_S_MAX


class Health:
    """``get_lag_s`` tells how long the event loop stood still of late."""

    def __init__(self, writer: Writer, get_lag_s: Callable[[], float]) -> None:
        self._writer = writer
        self._get_lag_s = get_lag_s

    def get_report(self) -> HealthReport:
        return HealthReport(
            is_writing=self._writer.is_alive, has_room=not self._writer.is_full, lag_s=self._get_lag_s()
        )
