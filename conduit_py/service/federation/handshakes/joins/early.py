"""Events that come in while their room is still being joined.

Once a server has let our user in it sends us what happens in the room, often at once: many rooms have somebody who
greets. Until the room's state is stored there is nothing to judge that by, so whoever receives it waits; what takes too
long is written down like everything of a slow room (``service.federation.receive.room_queues``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from conduit_py.matrix.ids import RoomId


class EarlyEvents:
    """One per server."""

    def __init__(self) -> None:
        self._joining: dict[RoomId, trio.Event] = {}

    @contextmanager
    def expect(self, room_id: RoomId) -> Iterator[None]:
        """The room is being joined within the block. One at a time for each room."""
        joined = self._joining[room_id] = trio.Event()
        try:
            yield
        finally:
            del self._joining[room_id]
            joined.set()

    async def wait(self, room_id: RoomId) -> None:
        """Return when the room is not being joined, or not any more, whatever came of it."""
        joined = self._joining.get(room_id)
        if joined is not None:
            await joined.wait()
