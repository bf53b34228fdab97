"""Media that an administrator wants nobody to see: neither served nor fetched, whether they are here or not."""

from __future__ import annotations

from conduit_py.data import media
from conduit_py.service.users.store import Store
from kvschema.catalog.media import BlockedMedia, ByMxc


class MediaBlocks:
    """One per server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def is_blocked(self, mxc: ByMxc) -> bool:
        with self._store.snapshot() as snapshot:
            return media.get_blocked(snapshot, mxc) is not None

    def get_all(self) -> list[tuple[ByMxc, BlockedMedia]]:
        """Every medium that is blocked, in the order of their URIs."""
        with self._store.snapshot() as snapshot:
            return list(media.scan_blocked(snapshot))

    async def block(self, mxc: ByMxc, reason: str | None) -> None:
        """From now on nobody sees it. What is stored of it stays; see ``Removal.remove_media``."""
        async with self._store.writer.turn() as turn:
            media.stage_blocked(turn, mxc, BlockedMedia(self._store.now_ms(), reason))

    async def unblock(self, mxc: ByMxc) -> bool:
        """Was it blocked?"""
        was_blocked = self.is_blocked(mxc)
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            media.stage_blocked(turn, mxc, None)
        return was_blocked
