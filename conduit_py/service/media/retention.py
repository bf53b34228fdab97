"""What is swept away in the background: what the configuration does not keep, expired ids, and what crashes left.

Once an hour the files are gone through in the order of their last access, a few at a time with a pause behind, so that
requests hardly notice. A file belongs to the first of the scopes that has a reference to it: local, remote, thumbnail.
It goes when it is older or longer unused than its scope allows, or while its scope, or all of them together, take more
space than they may. Nothing is remembered between runs: a sweep that was cut off begins again at the longest unused.

Once a day, and at start, the directory is walked, to remove files without a row and to bring those home that another
``directory_structure`` had put elsewhere.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

import trio

from conduit_py.config import MediaRetention, MediaScope, RetentionPolicies
from conduit_py.data import media
from conduit_py.data.server import get_put_back_ms
from conduit_py.log import get_logger
from conduit_py.matrix.ids import ServerName
from conduit_py.service.media.files import Found, MediaFiles, file_key
from conduit_py.service.media.removal import Removal
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.media import AccessFile, File
from kvschema.errors import PreconditionFailed, StorageFull

_log = get_logger(__name__)

PERIOD_S: Final = 3600
WALKS_EVERY: Final = 24
"""Sweeps for each walk."""
PAUSE_S: Final = 0.1
SCANNED_MAX: Final = 500
"""Files that are looked at between two pauses, about 10 ms."""
REMOVED_MAX: Final = 100
"""Pending ids in one batch."""
LEFT_OVER_MS: Final = 24 * 3600 * 1000
"""How old a file without a row has to be: the row of a new one may be on its way."""
PUT_BACK_MS: Final = 30 * 24 * 3600 * 1000
"""For so long the files that are newer than a database that was put back are kept: it may be put back again."""


@dataclass(frozen=True, slots=True)
class _Seen:
    key: AccessFile
    row: File
    scope: MediaScope | None
    """None: nothing refers to the file."""


class _Totals:
    """Bytes by scope, and in all."""

    def __init__(self) -> None:
        self.by_scope: Counter[MediaScope | None] = Counter()

    def exceeds(self, scope: MediaScope, policies: RetentionPolicies) -> bool:
        space = policies.scoped.get(scope, MediaRetention()).space
        is_scope_full = space is not None and self.by_scope[scope] > space
        return is_scope_full or (policies.global_space is not None and self.by_scope.total() > policies.global_space)


class MediaSweep:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(
        self, server_name: ServerName, store: Store, policies: RetentionPolicies, files: MediaFiles, removal: Removal
    ) -> None:
        self._server_name = server_name
        self._store = store
        self._policies = policies
        self._files = files
        self._removal = removal
        self.bytes_by_scope: Mapping[MediaScope | None, int] = {}
        """As the last sweep found it; None for files that nothing refers to."""

    def replace(self, policies: RetentionPolicies) -> None:
        """Others from the next sweep on."""
        self._policies = policies

    async def run(self) -> None:
        """Clean up after the last run, then sweep once an hour."""
        await self._attempt(self._discard_unfinished)
        while True:
            await self._attempt(self.walk)
            for _ in range(WALKS_EVERY):
                await self._attempt(self.sweep)
                await trio.sleep(PERIOD_S)

    async def _attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        """A disk that fails here fails those who ask for media too; everything else can go on."""
        try:
            await step()
        except OSError as error:
            _log.error("media could not be cleaned up", why=error)

    async def _discard_unfinished(self) -> None:
        left = await self._files.discard_unfinished()
        if left:
            _log.info("removed what unfinished uploads left", files=left)

    async def sweep(self) -> None:
        """Remove what is no longer kept. What the full disk stops is left for the next time."""
        with contextlib.suppress(StorageFull):
            await self._sweep_pending()
            await self._sweep_files()

    # Ids that were not uploaded to

    async def _sweep_pending(self) -> None:
        place: str | None = None
        while True:
            with self._store.snapshot() as snapshot:
                rows = list(islice(media.scan_pending(snapshot, after=place), SCANNED_MAX))
            expired = [media_id for media_id, row in rows if row.expires_ms <= self._store.now_ms()]
            for start in range(0, len(expired), REMOVED_MAX):
                await self._remove_pending(expired[start : start + REMOVED_MAX])
            if len(rows) < SCANNED_MAX:
                return
            place = rows[-1][0]
            await trio.sleep(PAUSE_S)

    async def _remove_pending(self, media_ids: list[str]) -> None:
        with contextlib.suppress(PreconditionFailed):  # one was uploaded at this moment: the next sweep does the rest
            async with self._store.writer.turn(may_use_reserve=True) as turn:
                with self._store.snapshot() as snapshot:
                    for media_id in media_ids:
                        row = media.get_pending(snapshot, media_id)
                        if row is not None:
                            media.stage_pending_removed(turn, media_id, row)

    # Files, the longest unused first

    async def _sweep_files(self) -> None:
        totals = _Totals()
        place: AccessFile | None = None
        while batch := self._look(place):
            for seen in batch:
                totals.by_scope[seen.scope] += seen.row.size
            place = batch[-1].key
            await trio.sleep(PAUSE_S)
        place, removed = None, 0
        while batch := self._look(place):
            for seen in batch:
                removed += await self._judge(seen, totals)
            place = batch[-1].key
            await trio.sleep(PAUSE_S)
        self.bytes_by_scope = dict(totals.by_scope)
        if removed:
            _log.info("removed media that are no longer kept", files=removed)

    def _look(self, place: AccessFile | None) -> list[_Seen]:
        with self._store.snapshot() as snapshot:
            rows = islice(media.scan_files_by_access(snapshot, place), SCANNED_MAX)
            return [_Seen(key, row, self._scope_of(snapshot, key.file_hash)) for key, row in rows]

    def _scope_of(self, snapshot: Snapshot, file_hash: bytes) -> MediaScope | None:
        is_remote = False
        for mxc in media.scan_of_file(snapshot, file_hash):
            if mxc.server_name == self._server_name:
                return MediaScope.LOCAL
            is_remote = True
        if is_remote:
            return MediaScope.REMOTE
        is_thumbnail = next(media.scan_thumbnails_of_file(snapshot, file_hash), None) is not None
        return MediaScope.THUMBNAIL if is_thumbnail else None

    async def _judge(self, seen: _Seen, totals: _Totals) -> int:
        """Remove the file if it is no longer kept. How many files are gone, its thumbnails with it."""
        file_hash = seen.key.file_hash
        if seen.scope is None:
            freed = await self._removal.collect([file_hash])
        elif self._is_too_old(seen) or totals.exceeds(seen.scope, self._policies):
            freed = await self._removal.remove_file(file_hash, seen.row)
        else:
            return 0
        for freed_hash, size in freed.items():
            # What went with the file were thumbnails and nothing else, or it would still be there.
            totals.by_scope[seen.scope if freed_hash == file_hash else MediaScope.THUMBNAIL] -= size
        return len(freed)

    def _is_too_old(self, seen: _Seen) -> bool:
        policy = MediaRetention() if seen.scope is None else self._policies.scoped.get(seen.scope, MediaRetention())
        now_ms = self._store.now_ms()
        return (policy.accessed is not None and seen.row.accessed_ms + policy.accessed * 1000 <= now_ms) or (
            policy.created is not None and seen.row.created_ms + policy.created * 1000 <= now_ms
        )

    # The directory

    async def walk(self) -> None:
        """Look at every file on disk. A directory that held other files before we came is left alone."""
        if not await self._files.is_ours():
            return
        removed = moved = 0
        async with contextlib.aclosing(self._files.walk(at_a_time=SCANNED_MAX)) as batches:
            async for batch in batches:
                for found in batch:
                    if self._is_left_over(found):
                        removed += await self._remove_left_over(found)
                    elif found.is_displaced:
                        moved += await self._bring_home(found)
                await trio.sleep(PAUSE_S)
        if removed or moved:
            _log.info("cleaned up the media directory", removed=removed, moved=moved)

    def _is_left_over(self, found: Found) -> bool:
        with self._store.snapshot() as snapshot:
            has_row = media.get_file(snapshot, found.file_hash) is not None
            put_back_ms = get_put_back_ms(snapshot)
        if has_row:
            return False
        keep_until_ms = found.modified_ms + LEFT_OVER_MS
        if found.modified_ms <= put_back_ms:
            keep_until_ms = max(keep_until_ms, put_back_ms + PUT_BACK_MS)
        return keep_until_ms <= self._store.now_ms()

    async def _remove_left_over(self, found: Found) -> bool:
        async with self._store.locks.hold(file_key(found.file_hash)):
            if not self._is_left_over(found):
                return False
            await self._files.remove_path(found.path)
        return True

    async def _bring_home(self, found: Found) -> bool:
        async with self._store.locks.hold(file_key(found.file_hash)):
            with self._store.snapshot() as snapshot:
                if media.get_file(snapshot, found.file_hash) is None:
                    return False
            await self._files.move_home(found)
        return True
