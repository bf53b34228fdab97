"""Rows of a device that are on their way to the disk.

Claims and messages take no lock of the device's account, so a device may go while some of their rows are queued: no
snapshot shows them yet, and they land before the device does go. Whoever removes a device has them removed by this.
"""

from __future__ import annotations

from collections.abc import Callable

from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortUserId

StageRemoved = Callable[[Turn], None]


class InFlight:
    """One per server. Holds as much as the writer's queue does."""

    def __init__(self) -> None:
        self._rows: dict[tuple[ShortUserId, str], dict[object, StageRemoved]] = {}

    def note(self, turn: Turn, user: ShortUserId, device_id: str, stage_removed: StageRemoved) -> None:
        """``turn`` stages a row of the device, which ``stage_removed`` would remove."""
        device, token = (user, device_id), object()
        self._rows.setdefault(device, {})[token] = stage_removed

        def settle() -> None:
            rows = self._rows[device]
            del rows[token]
            if not rows:
                del self._rows[device]

        turn.on_settled(settle)

    def stage_removed(self, turn: Turn, user: ShortUserId, device_id: str) -> None:
        """Remove whatever was queued before this turn."""
        for stage_removed in self._rows.get((user, device_id), {}).values():
            stage_removed(turn)
