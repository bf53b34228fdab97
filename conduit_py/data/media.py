"""Media, their files, thumbnails and pending ids. Rows that must agree are staged by one function."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import media
from kvschema.catalog.media import (
    AccessFile,
    BlockedFile,
    BlockedMedia,
    ByFile,
    ByMediaId,
    ByMxc,
    File,
    FileMedia,
    FileThumbnail,
    Media,
    PendingMedia,
    Thumbnail,
    ThumbnailId,
    UserMedia,
)
from kvschema.catalog.rooms import ShortUserId

# --- media ---


def get_media(snapshot: Snapshot, mxc: ByMxc) -> Media | None:
    return media.MXC_MEDIA.get(snapshot, mxc)


def scan_all(
    snapshot: Snapshot, server_name: str | None = None, *, after: ByMxc | None = None
) -> Iterator[tuple[ByMxc, Media]]:
    """All media, or those of one server, past one."""
    leading = () if server_name is None else (server_name,)
    return media.MXC_MEDIA.scan(snapshot, *leading, after=after)


def scan_of_file(snapshot: Snapshot, file_hash: bytes) -> Iterator[ByMxc]:
    """The media whose content the file is."""
    for key in media.FILE_MEDIA.scan_keys(snapshot, file_hash):
        yield ByMxc(key.server_name, key.media_id)


def scan_of_user(snapshot: Snapshot, server_name: str, user: ShortUserId) -> Iterator[ByMxc]:
    """The media that a user of this server uploaded. Looks at all that were uploaded here."""
    for key, row in media.MXC_MEDIA.scan(snapshot, server_name):
        if row.user == user:
            yield key


def stage_media(turn: Turn, mxc: ByMxc, row: Media) -> None:
    """A new medium; its file has a row, or gets one in the same turn."""
    turn.batch.require_absent(media.MXC_MEDIA, mxc)
    turn.batch.put(media.MXC_MEDIA, mxc, row)
    turn.batch.put(media.FILE_MEDIA, FileMedia(row.file_hash, *mxc), None)


def stage_fetched_media(turn: Turn, mxc: ByMxc, row: Media) -> None:
    """A new medium of another server. The batch is refused if it is blocked."""
    turn.batch.require_absent(media.BLOCKED_MEDIA, mxc)
    stage_media(turn, mxc, row)


def stage_media_removed(turn: Turn, mxc: ByMxc, row: Media) -> None:
    """Its thumbnails are removed in the same turn. The batch is refused if the medium has changed meanwhile."""
    turn.batch.require(media.MXC_MEDIA, mxc, row)
    turn.batch.delete(media.MXC_MEDIA, mxc)
    turn.batch.delete(media.FILE_MEDIA, FileMedia(row.file_hash, *mxc))


# --- files ---


def get_file(snapshot: Snapshot, file_hash: bytes) -> File | None:
    return media.FILE_METADATA.get(snapshot, ByFile(file_hash))


def count_files(snapshot: Snapshot) -> int:
    return snapshot.count(media.FILE_METADATA.name)


def scan_files(snapshot: Snapshot) -> Iterator[tuple[bytes, File]]:
    """Every file by its hash, in that order."""
    for key, row in media.FILE_METADATA.scan(snapshot):
        yield key.file_hash, row


def is_referenced(snapshot: Snapshot, file_hash: bytes) -> bool:
    """Is the file the content of anything?"""
    for tree in (media.FILE_MEDIA, media.FILE_THUMBNAIL):
        if next(tree.scan_keys(snapshot, file_hash), None) is not None:
            return True
    return False


def scan_files_by_access(snapshot: Snapshot, after: AccessFile | None = None) -> Iterator[tuple[AccessFile, File]]:
    """Every file, the longest unused first, past the key ``after``."""
    for key in media.ACCESS_FILE.scan_keys(snapshot, after=after):
        row = media.FILE_METADATA.get(snapshot, ByFile(key.file_hash))
        if row is not None:
            yield key, row


def stage_file(turn: Turn, file_hash: bytes, row: File) -> None:
    """A new file. The batch is refused if it has a row already."""
    turn.batch.require_absent(media.FILE_METADATA, ByFile(file_hash))
    turn.batch.put(media.FILE_METADATA, ByFile(file_hash), row)
    turn.batch.put(media.ACCESS_FILE, AccessFile(row.accessed_ms, file_hash), None)


def stage_accessed(turn: Turn, file_hash: bytes, old: File, accessed_ms: int) -> None:
    """The batch is refused if the file has changed or gone meanwhile."""
    row = old._replace(accessed_ms=accessed_ms)
    turn.batch.require(media.FILE_METADATA, ByFile(file_hash), old)
    turn.batch.put(media.FILE_METADATA, ByFile(file_hash), row)
    turn.batch.delete(media.ACCESS_FILE, AccessFile(old.accessed_ms, file_hash))
    turn.batch.put(media.ACCESS_FILE, AccessFile(accessed_ms, file_hash), None)


def stage_file_removed(turn: Turn, file_hash: bytes, row: File) -> None:
    """The batch is refused if the file has changed meanwhile."""
    turn.batch.require(media.FILE_METADATA, ByFile(file_hash), row)
    turn.batch.delete(media.FILE_METADATA, ByFile(file_hash))
    turn.batch.delete(media.ACCESS_FILE, AccessFile(row.accessed_ms, file_hash))


# --- thumbnails ---


def get_thumbnail(snapshot: Snapshot, key: ThumbnailId) -> Thumbnail | None:
    return media.THUMBNAIL.get(snapshot, key)


def scan_thumbnails(snapshot: Snapshot, mxc: ByMxc) -> Iterator[tuple[ThumbnailId, Thumbnail]]:
    """Those of one medium."""
    yield from media.THUMBNAIL.scan(snapshot, *mxc)


def scan_thumbnails_of_file(snapshot: Snapshot, file_hash: bytes) -> Iterator[ThumbnailId]:
    """The thumbnails whose content the file is."""
    for key in media.FILE_THUMBNAIL.scan_keys(snapshot, file_hash):
        yield ThumbnailId(*key[1:])


def stage_thumbnail(turn: Turn, key: ThumbnailId, row: Thumbnail, of: Media) -> None:
    """The batch is refused if the medium has changed or gone meanwhile."""
    mxc = ByMxc(key.server_name, key.media_id)
    turn.batch.require(media.MXC_MEDIA, mxc, of)
    turn.batch.put(media.MXC_MEDIA, mxc, of._replace(changes=of.changes + 1))
    _stage_new_thumbnail(turn, key, row)


def stage_foreign_thumbnail(turn: Turn, key: ThumbnailId, row: Thumbnail) -> None:
    """One of a medium that need not be here. The batch is refused if the medium is blocked."""
    assert row.is_foreign
    turn.batch.require_absent(media.BLOCKED_MEDIA, ByMxc(key.server_name, key.media_id))
    _stage_new_thumbnail(turn, key, row)


def _stage_new_thumbnail(turn: Turn, key: ThumbnailId, row: Thumbnail) -> None:
    turn.batch.require_absent(media.THUMBNAIL, key)
    turn.batch.put(media.THUMBNAIL, key, row)
    turn.batch.put(media.FILE_THUMBNAIL, FileThumbnail(row.file_hash, *key), None)


def stage_thumbnail_removed(turn: Turn, key: ThumbnailId, file_hash: bytes) -> None:
    turn.batch.delete(media.THUMBNAIL, key)
    turn.batch.delete(media.FILE_THUMBNAIL, FileThumbnail(file_hash, *key))


# --- blocked ---


def get_blocked(snapshot: Snapshot, mxc: ByMxc) -> BlockedMedia | None:
    return media.BLOCKED_MEDIA.get(snapshot, mxc)


def scan_blocked(snapshot: Snapshot) -> Iterator[tuple[ByMxc, BlockedMedia]]:
    yield from media.BLOCKED_MEDIA.scan(snapshot)


def stage_blocked(turn: Turn, mxc: ByMxc, row: BlockedMedia | None) -> None:
    """``None`` unblocks."""
    if row is None:
        turn.batch.delete(media.BLOCKED_MEDIA, mxc)
    else:
        turn.batch.put(media.BLOCKED_MEDIA, mxc, row)


def is_file_blocked(snapshot: Snapshot, file_hash: bytes) -> bool:
    return media.BLOCKED_FILE.has(snapshot, ByFile(file_hash))


def stage_file_blocked(turn: Turn, file_hash: bytes, row: BlockedFile | None) -> None:
    """``None`` unblocks."""
    if row is None:
        turn.batch.delete(media.BLOCKED_FILE, ByFile(file_hash))
    else:
        turn.batch.put(media.BLOCKED_FILE, ByFile(file_hash), row)


# --- pending ids ---


def get_pending(snapshot: Snapshot, media_id: str) -> PendingMedia | None:
    return media.PENDING_MEDIA.get(snapshot, ByMediaId(media_id))


def scan_pending(snapshot: Snapshot, *, after: str | None = None) -> Iterator[tuple[str, PendingMedia]]:
    """All of them, past the id ``after``."""
    start = None if after is None else ByMediaId(after)
    for key, row in media.PENDING_MEDIA.scan(snapshot, after=start):
        yield key.media_id, row


def scan_pending_of(snapshot: Snapshot, user: ShortUserId) -> Iterator[tuple[str, PendingMedia]]:
    for key in media.USER_PENDING.scan_keys(snapshot, user):
        row = get_pending(snapshot, key.media_id)
        if row is not None:
            yield key.media_id, row


def stage_pending(turn: Turn, media_id: str, row: PendingMedia) -> None:
    turn.batch.put(media.PENDING_MEDIA, ByMediaId(media_id), row)
    turn.batch.put(media.USER_PENDING, UserMedia(row.user, media_id), None)


def stage_pending_removed(turn: Turn, media_id: str, row: PendingMedia) -> None:
    """The batch is refused if it was uploaded or swept meanwhile."""
    turn.batch.require(media.PENDING_MEDIA, ByMediaId(media_id), row)
    turn.batch.delete(media.PENDING_MEDIA, ByMediaId(media_id))
    turn.batch.delete(media.USER_PENDING, UserMedia(row.user, media_id))
