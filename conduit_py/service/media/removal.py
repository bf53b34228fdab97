"""How media, thumbnails and files go: rows first, references before what they refer to.

A medium goes with its thumbnails in one batch; what files lose their last reference by that is collected afterwards,
each under its own lock: its row goes, and when that is on disk, the file. Cut off anywhere, this leaves a file with a
row and without a reference, which the next sweep collects, or a file without a row, which the daily walk removes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from itertools import islice
from typing import Final

from conduit_py.data import media
from conduit_py.matrix.ids import ServerName
from conduit_py.service.media.access import FileAccess
from conduit_py.service.media.files import MediaFiles, file_key
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.media import ByMxc, File
from kvschema.catalog.rooms import ShortUserId
from kvschema.errors import PreconditionFailed

REFERENCES_MAX: Final = 100
"""Media or thumbnails that one batch removes."""

Freed = dict[bytes, int]
"""The files that are gone, and how large they were."""


class Removal:
    """One per server."""

    def __init__(self, store: Store, files: MediaFiles, access: FileAccess) -> None:
        self._store = store
        self._files = files
        self._access = access

    async def remove_media(self, mxc: ByMxc) -> bool:
        """Remove a medium and its thumbnails, and the files that nothing else needs. Was there such a medium?"""
        while True:
            released: set[bytes] = set()
            try:
                async with self._store.writer.turn(may_use_reserve=True) as turn:
                    with self._store.snapshot() as snapshot:
                        is_there = _stage_media_removed(snapshot, turn, mxc, released)
            except PreconditionFailed:
                continue  # it got one more thumbnail
            await self.collect(released)
            return is_there

    async def remove_uploads(self, server_name: ServerName, user: ShortUserId) -> int:
        """Remove everything that a user of this server uploaded. Returns how many media that were."""
        with self._store.snapshot() as snapshot:
            uploads = list(media.scan_of_user(snapshot, server_name, user))
        for mxc in uploads:
            await self.remove_media(mxc)
        return len(uploads)

    async def remove_content(self, file_hash: bytes) -> int:
        """Remove a file and everything whose content it is, also what was used just now. Returns how many media."""
        with self._store.snapshot() as snapshot:
            of_file = list(media.scan_of_file(snapshot, file_hash))
        removed = sum([await self.remove_media(mxc) for mxc in of_file])
        released: set[bytes] = {file_hash}
        with contextlib.suppress(PreconditionFailed):  # one was uploaded meanwhile
            while await self._remove_references(file_hash, released):
                pass
        await self.collect(released)
        return removed

    async def remove_file(self, file_hash: bytes, unused_since: File) -> Freed:
        """Remove a file and everything whose content it is, unless it was used since ``unused_since``."""
        released: set[bytes] = set()
        async with self._store.locks.hold(file_key(file_hash)):
            with self._store.snapshot() as snapshot:
                is_used = media.get_file(snapshot, file_hash) != unused_since
            if is_used or self._access.is_noted(file_hash):
                return {}
            with contextlib.suppress(PreconditionFailed):  # one got a thumbnail: it goes with the next sweep
                while await self._remove_references(file_hash, released):
                    pass
        released.discard(file_hash)
        return await self.collect([file_hash, *released])

    async def _remove_references(self, file_hash: bytes, released: set[bytes]) -> bool:
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            with self._store.snapshot() as snapshot:
                return _stage_references_removed(snapshot, turn, file_hash, released)

    async def collect(self, file_hashes: Iterable[bytes]) -> Freed:
        """Remove the files among these that nothing refers to."""
        freed: Freed = {}
        for file_hash in file_hashes:
            async with self._store.locks.hold(file_key(file_hash)):
                try:
                    row = await self._remove_row(file_hash)
                except PreconditionFailed:
                    continue  # it was used at this moment; the next sweep sees whether it still has a reference
                if row is not None:
                    await self._files.remove(file_hash)
                    freed[file_hash] = row.size
        return freed

    async def _remove_row(self, file_hash: bytes) -> File | None:
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            with self._store.snapshot() as snapshot:
                row = media.get_file(snapshot, file_hash)
                if row is None or media.is_referenced(snapshot, file_hash):
                    return None
            media.stage_file_removed(turn, file_hash, row)
        return row


def _stage_media_removed(snapshot: Snapshot, turn: Turn, mxc: ByMxc, released: set[bytes]) -> bool:
    """Thumbnails go even where the medium was never here."""
    row = media.get_media(snapshot, mxc)
    if row is not None:
        media.stage_media_removed(turn, mxc, row)
        released.add(row.file_hash)
    for key, thumbnail in media.scan_thumbnails(snapshot, mxc):
        media.stage_thumbnail_removed(turn, key, thumbnail.file_hash)
        released.add(thumbnail.file_hash)
    return bool(released)


def _stage_references_removed(snapshot: Snapshot, turn: Turn, file_hash: bytes, released: set[bytes]) -> bool:
    """Is there more to remove than one batch takes?"""
    found = list(islice(media.scan_of_file(snapshot, file_hash), REFERENCES_MAX))
    for mxc in found:
        _stage_media_removed(snapshot, turn, mxc, released)
    thumbnails = list(islice(media.scan_thumbnails_of_file(snapshot, file_hash), REFERENCES_MAX))
    for key in thumbnails:
        media.stage_thumbnail_removed(turn, key, file_hash)
    return len(found) == REFERENCES_MAX or len(thumbnails) == REFERENCES_MAX
