"""Which content is behind an ``mxc://`` URI, and its bytes.

Spec: client-server-api/#get_matrixclientv1mediadownloadservernamemediaid
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from conduit_py.data import media
from conduit_py.matrix.ids import Malformed, ServerName, parse_server_name
from conduit_py.service.errors import NotFound
from conduit_py.service.media.access import FileAccess
from conduit_py.service.media.arrivals import Arrivals, NotYetUploaded
from conduit_py.service.media.blocks import MediaBlocks
from conduit_py.service.media.files import CHUNK_BYTES, MediaFiles
from conduit_py.service.media.remote import RemoteMedia
from conduit_py.service.users.store import Store
from kvschema.catalog.media import MEDIA_ID_BYTES_MAX, SERVER_NAME_BYTES_MAX, ByMxc, Media

TIMEOUT_DEFAULT_MS: Final = 20_000
TIMEOUT_MAX_MS: Final = 60_000
_MEDIA_ID: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{MEDIA_ID_BYTES_MAX}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for, and how."""

    mxc: ByMxc
    timeout_ms: int = TIMEOUT_DEFAULT_MS
    """How long to wait for an upload that was announced."""
    allow_remote: bool = True
    """Another server may be asked."""
    is_legacy: bool = False
    """Came over a path that asks for no access token."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file and what it is served as."""

    file_hash: bytes
    size: int
    content_type: str
    filename: str | None


def parse_mxc(server_name: str, media_id: str) -> ByMxc:
    """The parts of an ``mxc://`` URI; what cannot be one is not there. Raises ``NotFound``.

    Spec: client-server-api/#content-repo-security-considerations
    """
    try:
        parse_server_name(server_name)
    except Malformed as error:
        raise NotFound("Media not found") from error
    if len(server_name) > SERVER_NAME_BYTES_MAX or _MEDIA_ID.fullmatch(media_id) is None:
        raise NotFound("Media not found")
    return ByMxc(server_name, media_id)


class FetchService:
    """Media as they are served. ``serves_all_legacy``: paths without an access token serve everything."""

    def __init__(
        self,
        server_name: ServerName,
        store: Store,
        *,
        files: MediaFiles,
        access: FileAccess,
        arrivals: Arrivals,
        remote: RemoteMedia,
        blocks: MediaBlocks,
        serves_all_legacy: bool,
    ) -> None:
        self._server_name = server_name
        self._store = store
        self._files = files
        self._access = access
        self._arrivals = arrivals
        self._remote = remote
        self._blocks = blocks
        self._serves_all_legacy = serves_all_legacy

    async def get_content(self, asked: Asked) -> Content:
        """The content of a medium. Raises what ``find`` raises."""
        row = await self.find(asked)
        return self.open(row.file_hash, row.content_type, row.filename)

    async def find(self, asked: Asked) -> Media:
        """The row of a medium, after waiting for its upload if it was announced, or fetching it if another server's.

        Raises ``NotFound``, ``NotYetUploaded``, and for media of other servers what ``RemoteMedia.fetch`` raises.
        """
        timeout_ms = min(asked.timeout_ms, TIMEOUT_MAX_MS)
        row, is_pending = self._look_up(asked.mxc)
        if row is None and self.may_see_new(asked):
            if is_pending:
                await self._arrivals.wait(asked.mxc.media_id, timeout_ms / 1000)
            elif asked.allow_remote and asked.mxc.server_name != self._server_name:
                await self._remote.fetch(asked.mxc, timeout_ms)
            row, is_pending = self._look_up(asked.mxc)
            if row is None and is_pending:
                raise NotYetUploaded("The media has not been uploaded yet")
        if row is None or not self._may_see(asked, is_legacy=row.is_legacy) or self._blocks.is_blocked(asked.mxc):
            raise NotFound("Media not found")
        return row

    def may_see_new(self, asked: Asked) -> bool:
        """May what is stored now of the medium be seen by whoever asks so?"""
        return self._may_see(asked, is_legacy=False) and not self._blocks.is_blocked(asked.mxc)

    def _look_up(self, mxc: ByMxc) -> tuple[Media | None, bool]:
        with self._store.snapshot() as snapshot:
            row = media.get_media(snapshot, mxc)
            pending = media.get_pending(snapshot, mxc.media_id) if mxc.server_name == self._server_name else None
        return row, pending is not None and pending.expires_ms > self._store.now_ms()

    def _may_see(self, asked: Asked, *, is_legacy: bool) -> bool:
        return is_legacy or self._serves_all_legacy or not asked.is_legacy

    def open(self, file_hash: bytes, content_type: str, filename: str | None) -> Content:
        """A file that is about to be served. Raises ``NotFound`` if it has gone meanwhile, and if it is blocked."""
        with self._store.snapshot() as snapshot:
            file = media.get_file(snapshot, file_hash)
            is_blocked = media.is_file_blocked(snapshot, file_hash)
        if file is None or is_blocked:
            raise NotFound("Media not found")
        self._access.note(file_hash, file)
        return Content(file_hash, file.size, content_type, filename)

    async def read(self, content: Content, start: int, length: int) -> bytes | AsyncGenerator[bytes, None]:
        """A part of the file: bytes if they are few, or else chunks, to be closed by whoever gets them.

        Raises ``NotFound`` if the file has gone meanwhile.
        """
        try:
            if length <= CHUNK_BYTES:
                return await self._files.read_part(content.file_hash, start, length)
            return await self._files.open_stream(content.file_hash, start, length)
        except FileNotFoundError as error:
            raise NotFound("Media not found") from error
