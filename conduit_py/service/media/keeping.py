"""How content becomes a file with a row, together with the row that refers to it."""

from __future__ import annotations

from collections.abc import Callable

from conduit_py.data import media
from conduit_py.service.errors import Forbidden
from conduit_py.service.media.access import FileAccess
from conduit_py.service.media.files import MediaFiles, Received, file_key
from conduit_py.service.users.store import Store
from conduit_py.storage.writer import Turn
from kvschema.catalog.media import File
from kvschema.errors import BatchRefused, StorageFull

StageReference = Callable[[Turn], None]


class FileIsBlocked(Forbidden):
    """An administrator wants nobody to see this content."""


class Keeper:
    """One per server."""

    def __init__(self, store: Store, files: MediaFiles, access: FileAccess) -> None:
        self._store = store
        self._files = files
        self._access = access

    async def keep(self, received: Received, stage_reference: StageReference) -> None:
        """Keep the content for good: on return the file and the rows are on disk.

        ``stage_reference`` stages the row whose content the file becomes. Raises what a turn raises, such as
        ``PreconditionFailed``, ``NoSpace`` and ``FileIsBlocked``; nothing is kept then.
        """
        file_hash = received.file_hash
        async with self._store.locks.hold(file_key(file_hash)):
            with self._store.snapshot() as snapshot:
                has_row = media.get_file(snapshot, file_hash) is not None
                is_blocked = media.is_file_blocked(snapshot, file_hash)
            if is_blocked:
                raise FileIsBlocked("This file is blocked on this server")
            await self._files.place(received, has_row=has_row)
            try:
                async with self._store.writer.turn() as turn:
                    if not has_row:
                        now_ms = self._store.now_ms()
                        media.stage_file(turn, file_hash, File(received.size, now_ms, now_ms))
                    stage_reference(turn)
            except (StorageFull, BatchRefused):
                if not has_row:
                    await self._files.remove(file_hash)
                raise
            self._access.note_new_use(file_hash)
