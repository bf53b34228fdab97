"""Media, files, thumbnails and pending ids: ``kvschema.catalog.media``. Nobody looks at the disk here."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.consistency.derived import compare_tree
from conduit_py.storage.database import Snapshot
from kvschema.catalog import media, users
from kvschema.catalog.media import (
    AccessFile,
    ByFile,
    ByMediaId,
    ByMxc,
    FileMedia,
    FileThumbnail,
    ThumbnailId,
    UserMedia,
)
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import ByUser


def check_media(snapshot: Snapshot) -> Iterator[str]:
    """The content of a medium is a file that there is, and what our users uploaded is of users that there are."""
    for key, row in media.MXC_MEDIA.scan(snapshot):
        if not media.FILE_METADATA.has(snapshot, ByFile(row.file_hash)):
            yield f"servernamemediaid_metadata: {key} is the file {row.file_hash.hex()}, which there is not"
        if row.user and not users.USERID_ACCOUNT.has(snapshot, ByUser(ShortUserId(row.user))):
            yield f"servernamemediaid_metadata: {key} is of user {row.user}, who has no account"


def check_media_of_files(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: FileMedia, _: None) -> bool:
        row = media.MXC_MEDIA.get(snapshot, ByMxc(key.server_name, key.media_id))
        return row is not None and row.file_hash == key.file_hash

    expected = ((FileMedia(row.file_hash, *key), None) for key, row in media.MXC_MEDIA.scan(snapshot))
    return compare_tree(snapshot, media.FILE_MEDIA, expected, follows)


def check_files(snapshot: Snapshot) -> Iterator[str]:
    """Files were not used before they were there. One without a reference is no fault: its removal was cut off."""
    for key, row in media.FILE_METADATA.scan(snapshot):
        if row.accessed_ms < row.created_ms:
            yield f"filehash_metadata: {key.file_hash.hex()} was used before it was there"


def check_accesses(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: AccessFile, _: None) -> bool:
        row = media.FILE_METADATA.get(snapshot, ByFile(key.file_hash))
        return row is not None and row.accessed_ms == key.accessed_ms

    expected = ((AccessFile(row.accessed_ms, key.file_hash), None) for key, row in media.FILE_METADATA.scan(snapshot))
    return compare_tree(snapshot, media.ACCESS_FILE, expected, follows)


def check_thumbnails(snapshot: Snapshot) -> Iterator[str]:
    """Thumbnails made here are of media, and the content of all is a file that there is."""
    for key, row in media.THUMBNAIL.scan(snapshot):
        if not row.is_foreign and not media.MXC_MEDIA.has(snapshot, ByMxc(key.server_name, key.media_id)):
            yield f"thumbnailid_metadata: {key} is of a medium that there is not"
        if not media.FILE_METADATA.has(snapshot, ByFile(row.file_hash)):
            yield f"thumbnailid_metadata: {key} is the file {row.file_hash.hex()}, which there is not"


def check_thumbnails_of_files(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: FileThumbnail, _: None) -> bool:
        row = media.THUMBNAIL.get(snapshot, ThumbnailId(*key[1:]))
        return row is not None and row.file_hash == key.file_hash

    expected = ((FileThumbnail(row.file_hash, *key), None) for key, row in media.THUMBNAIL.scan(snapshot))
    return compare_tree(snapshot, media.FILE_THUMBNAIL, expected, follows)


def check_pending(snapshot: Snapshot) -> Iterator[str]:
    """Ids wait for users that there are."""
    for key, row in media.PENDING_MEDIA.scan(snapshot):
        if not users.USERID_ACCOUNT.has(snapshot, ByUser(row.user)):
            yield f"mediaid_pending: {key.media_id} waits for user {row.user}, who has no account"


def check_pending_of_users(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: UserMedia, _: None) -> bool:
        row = media.PENDING_MEDIA.get(snapshot, ByMediaId(key.media_id))
        return row is not None and row.user == key.user

    expected = ((UserMedia(row.user, key.media_id), None) for key, row in media.PENDING_MEDIA.scan(snapshot))
    return compare_tree(snapshot, media.USER_PENDING, expected, follows)
