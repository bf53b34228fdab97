"""History that we do not hold, seen from who reads a timeline."""

from __future__ import annotations

from typing import Protocol

import trio

from conduit_py.matrix.ids import RoomId


class History(Protocol):
    """Fetches what is missing in timelines."""

    async def fill(self, room_id: RoomId, pos: int) -> bool:
        """Fetch some of what is missing right before the event at a place. False if nothing could be had now."""
        ...


class NoHistory:
    """For a server that keeps to itself."""

    async def fill(self, room_id: RoomId, pos: int) -> bool:
        """Nothing can be had."""
        await trio.lowlevel.checkpoint()
        return False
