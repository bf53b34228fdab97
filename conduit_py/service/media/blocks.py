"""Media that an administrator wants nobody to see: neither served nor fetched, whether they are here or not.

With a medium that is here, its content is blocked: it is not served under any other URI either, and not taken again.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from conduit_py.data import media
from conduit_py.service.media.files import file_key
from conduit_py.service.users.store import Store
from kvschema.catalog.media import BlockedFile, BlockedMedia, ByMxc


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
        with self._store.snapshot() as snapshot:
            row, before = media.get_media(snapshot, mxc), media.get_blocked(snapshot, mxc)
        file_hash = row.file_hash if row is not None else b"" if before is None else before.file_hash
        async with AsyncExitStack() as stack:
            if file_hash:
                # Whoever is keeping the same content has done so, or is refused.
                await stack.enter_async_context(self._store.locks.hold(file_key(file_hash)))
            turn = await stack.enter_async_context(self._store.writer.turn())
            now_ms = self._store.now_ms()
            media.stage_blocked(turn, mxc, BlockedMedia(now_ms, reason, file_hash))
            if file_hash:
                media.stage_file_blocked(turn, file_hash, BlockedFile(now_ms))

    async def unblock(self, mxc: ByMxc) -> bool:
        """Allow a medium and its content again. Was it blocked?"""
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            with self._store.snapshot() as snapshot:
                blocked = media.get_blocked(snapshot, mxc)
            if blocked is not None:
                media.stage_blocked(turn, mxc, None)
                if blocked.file_hash:
                    media.stage_file_blocked(turn, blocked.file_hash, None)
        return blocked is not None
