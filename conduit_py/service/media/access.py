"""When files were last asked for, to the hour: a download costs no write."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from itertools import islice
from typing import Final

import trio

from conduit_py.data import media
from conduit_py.service.users.store import Store
from kvschema.catalog.media import File
from kvschema.errors import PreconditionFailed, StorageFull

COARSE_MS: Final = 60 * 60 * 1000
FLUSH_S: Final = 60
FLUSHED_MAX: Final = 100
"""Files in one batch."""
FILES_MAX: Final = 20_000
"""Files noted between two flushes; one that is forgotten seems unused for an hour longer."""


class FileAccess:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted_ms: OrderedDict[bytes, int] = OrderedDict()
        self._has_notes = trio.Event()

    def note(self, file_hash: bytes, row: File) -> None:
        """The file is asked for now; written with the next flush if the last time written is an hour ago."""
        if row.accessed_ms + COARSE_MS <= self._store.now_ms():
            self.note_new_use(file_hash)

    def note_new_use(self, file_hash: bytes) -> None:
        """The file has become the content of one more medium."""
        self._noted_ms[file_hash] = self._store.now_ms()
        self._noted_ms.move_to_end(file_hash)
        self._has_notes.set()
        while len(self._noted_ms) > FILES_MAX:
            self._noted_ms.popitem(last=False)

    def is_noted(self, file_hash: bytes) -> bool:
        """Was the file used since what its row says?"""
        return file_hash in self._noted_ms

    async def flush(self) -> None:
        """Write what was noted."""
        while self._noted_ms:
            batch = dict(islice(self._noted_ms.items(), FLUSHED_MAX))
            async with self._store.writer.turn() as turn:
                with self._store.snapshot() as snapshot:
                    for file_hash, accessed_ms in batch.items():
                        row = media.get_file(snapshot, file_hash)
                        if row is not None and row.accessed_ms < accessed_ms:
                            media.stage_accessed(turn, file_hash, row, accessed_ms)
            for file_hash, accessed_ms in batch.items():
                if self._noted_ms.get(file_hash) == accessed_ms:
                    del self._noted_ms[file_hash]

    async def run(self) -> None:
        """Writes what was noted a minute later. What the end of the server takes is not worth waiting for."""
        while True:
            await self._has_notes.wait()
            await trio.sleep(FLUSH_S)
            # A full disk, or a file that goes at this moment: the notes stay for the next time.
            with contextlib.suppress(StorageFull, PreconditionFailed):
                await self.flush()
                self._has_notes = trio.Event()
