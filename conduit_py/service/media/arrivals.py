"""Who waits for an upload that was announced."""

from __future__ import annotations

import trio

from conduit_py.service.errors import MatrixError


class NotYetUploaded(MatrixError):
    """The medium was announced, and has not come in the time there was."""

    errcode, status = "M_NOT_YET_UPLOADED", 504


class Arrivals:
    """Wakes those who wait for a media id. One per server."""

    def __init__(self) -> None:
        self._waiting: dict[str, trio.Event] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def announce(self, media_id: str) -> None:
        """The medium is there."""
        event = self._waiting.get(media_id)
        if event is not None:
            event.set()

    async def wait(self, media_id: str, timeout_s: float) -> None:
        """Return when the medium is there or the time is over."""
        event = self._waiting.setdefault(media_id, trio.Event())
        self._counts[media_id] = self._counts.get(media_id, 0) + 1
        try:
            with trio.move_on_after(timeout_s):
                await event.wait()
        finally:
            self._counts[media_id] -= 1
            if not self._counts[media_id]:
                del self._counts[media_id], self._waiting[media_id]
