"""Media: what was uploaded under which id, the files that hold it, thumbnails, and ids that wait for their upload.

A file is named by the SHA-256 of its content and may be the content of many media and thumbnails. The two trees that
begin with a file's hash are its references: a file without any is removed.
"""

from __future__ import annotations

from typing import NamedTuple

from kvschema.catalog.rooms import ShortUserId
from kvschema.codec import NOTHING, U8, U64, Fixed, Key, Text, record
from kvschema.tree import Tree

SERVER_NAME_BYTES_MAX = 230
"""Of a server name in an ``mxc://`` URI: DNS names are no longer, and the longest key here has to fit."""
MEDIA_ID_BYTES_MAX = 128
PENDING_PER_USER_MAX = 20
THUMBNAILS_PER_MEDIA_MAX = 24


class ByMxc(NamedTuple):
    """The two parts of ``mxc://server_name/media_id``."""

    server_name: str
    media_id: str


class ByFile(NamedTuple):
    """SHA-256 of a file's content."""

    file_hash: bytes


class FileMedia(NamedTuple):
    file_hash: bytes
    server_name: str
    media_id: str


class AccessFile(NamedTuple):
    """Files by the time they were last asked for, the longest unused first."""

    accessed_ms: int
    file_hash: bytes


class ThumbnailId(NamedTuple):
    """One form of a thumbnail, by the size and method it was made for."""

    server_name: str
    media_id: str
    width: int
    height: int
    method: int
    animated: int


class FileThumbnail(NamedTuple):
    file_hash: bytes
    server_name: str
    media_id: str
    width: int
    height: int
    method: int
    animated: int


class ByMediaId(NamedTuple):
    """An id of this server's."""

    media_id: str


class UserMedia(NamedTuple):
    user: ShortUserId
    media_id: str


class Media(NamedTuple):
    """What is behind an ``mxc://`` URI."""

    file_hash: bytes
    content_type: str
    created_ms: int
    filename: str | None = None
    user: int = 0
    """Short id of the local user who uploaded it; 0 for media of other servers."""
    is_legacy: bool = False
    """Was stored while downloads without an access token were allowed, and stays reachable so."""
    changes: int = 0
    """Rises with each thumbnail that is kept: a removal that does not know of one is refused."""


class File(NamedTuple):
    size: int
    created_ms: int
    accessed_ms: int


class Thumbnail(NamedTuple):
    file_hash: bytes
    content_type: str
    is_foreign: bool = False
    """Was made by the server that has the medium, which is too large to be fetched."""


class PendingMedia(NamedTuple):
    user: ShortUserId
    expires_ms: int


class BlockedMedia(NamedTuple):
    blocked_ms: int
    reason: str | None = None
    file_hash: bytes = b""
    """Of its content, which is blocked too; empty where it was not here."""


class BlockedFile(NamedTuple):
    blocked_ms: int


_MXC = (Text(SERVER_NAME_BYTES_MAX), Text(MEDIA_ID_BYTES_MAX))
_FORM = (U64(), U64(), U8(), U8())

MXC_MEDIA: Tree[ByMxc, Media] = Tree(
    "servernamemediaid_metadata",
    Key(ByMxc, _MXC),
    record(Media),
    since=1,
    doc="Media by the parts of their URI.",
    bound="one row per upload; uploads are rate limited, and media.retention and deletions remove rows",
)
FILE_MEDIA: Tree[FileMedia, None] = Tree(
    "filehash_servername_mediaid",
    Key(FileMedia, (Fixed(32), *_MXC)),
    NOTHING,
    since=1,
    doc="The media whose content a file is.",
    bound="as servernamemediaid_metadata",
    derived="servernamemediaid_metadata",
)
FILE_METADATA: Tree[ByFile, File] = Tree(
    "filehash_metadata",
    Key(ByFile, (Fixed(32),)),
    record(File),
    since=1,
    doc="The files there are, on disk whenever they have a row here.",
    bound="at most one row per medium and thumbnail; a file without a reference is removed",
)
ACCESS_FILE: Tree[AccessFile, None] = Tree(
    "accessedms_filehash",
    Key(AccessFile, (U64(), Fixed(32))),
    NOTHING,
    since=1,
    doc="The files in the order of their last access.",
    bound="as filehash_metadata",
    derived="filehash_metadata",
)
THUMBNAIL: Tree[ThumbnailId, Thumbnail] = Tree(
    "thumbnailid_metadata",
    Key(ThumbnailId, (*_MXC, *_FORM)),
    record(Thumbnail),
    since=1,
    doc="Thumbnails that were made.",
    bound="THUMBNAILS_PER_MEDIA_MAX rows per medium, of media that are not fetched too; media.retention removes rows",
)
FILE_THUMBNAIL: Tree[FileThumbnail, None] = Tree(
    "filehash_thumbnailid",
    Key(FileThumbnail, (Fixed(32), *_MXC, *_FORM)),
    NOTHING,
    since=1,
    doc="The thumbnails whose content a file is.",
    bound="as thumbnailid_metadata",
    derived="thumbnailid_metadata",
)
PENDING_MEDIA: Tree[ByMediaId, PendingMedia] = Tree(
    "mediaid_pending",
    Key(ByMediaId, (Text(MEDIA_ID_BYTES_MAX),)),
    record(PendingMedia),
    since=1,
    doc="Ids that were given out and wait for their upload.",
    bound="PENDING_PER_USER_MAX rows per user; they expire after a day and are swept",
)
USER_PENDING: Tree[UserMedia, None] = Tree(
    "userid_pendingmediaid",
    Key(UserMedia, (U64(), Text(MEDIA_ID_BYTES_MAX))),
    NOTHING,
    since=1,
    doc="The ids of a user that wait for their upload.",
    bound="as mediaid_pending",
    derived="mediaid_pending",
)

BLOCKED_MEDIA: Tree[ByMxc, BlockedMedia] = Tree(
    "blocked_servernamemediaid",
    Key(ByMxc, _MXC),
    record(BlockedMedia),
    since=1,
    doc="Media that are neither served nor fetched, whether they are here or not.",
    bound="one row for each medium that an administrator blocks",
)
BLOCKED_FILE: Tree[ByFile, BlockedFile] = Tree(
    "blocked_filehash",
    Key(ByFile, (Fixed(32),)),
    record(BlockedFile),
    since=1,
    doc="Content that is neither served nor kept, under whatever URI.",
    bound="at most one row for each row of blocked_servernamemediaid",
)

TREES = (
    MXC_MEDIA,
    FILE_MEDIA,
    FILE_METADATA,
    ACCESS_FILE,
    THUMBNAIL,
    FILE_THUMBNAIL,
    PENDING_MEDIA,
    USER_PENDING,
    BLOCKED_MEDIA,
    BLOCKED_FILE,
)
