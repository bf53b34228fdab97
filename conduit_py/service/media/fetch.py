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
from conduit_py.service.errors import MatrixError, NotFound
from conduit_py.service.media.access import FileAccess
from conduit_py.service.media.arrivals import Arrivals
from conduit_py.service.media.files import CHUNK_BYTES, MediaFiles
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
        serves_all_legacy: bool,
    ) -> None:
        self._server_name = server_name
        self._store = store
        self._files = files
        self._access = access
        self._arrivals = arrivals
        self._serves_all_legacy = serves_all_legacy

    async def get_content(self, asked: Asked) -> Content:
        """The content of a medium. Raises ``NotFound``, ``M_NOT_YET_UPLOADED``."""
        row = await self.find(asked)
        return self.open(row.file_hash, row.content_type, row.filename)

    async def find(self, asked: Asked) -> Media:
        """The row of a medium, after waiting for its upload if it was announced.

        Media of other servers are found here only if they are stored. Raises ``NotFound``, ``M_NOT_YET_UPLOADED``.
        """
        row, is_pending = self._look_up(asked.mxc)
        if is_pending and row is None and self._may_see(asked, is_legacy=False):
            await self._arrivals.wait(asked.mxc.media_id, min(asked.timeout_ms, TIMEOUT_MAX_MS) / 1000)
            row, is_pending = self._look_up(asked.mxc)
            if row is None and is_pending:
                raise MatrixError("The media has not been uploaded yet", errcode="M_NOT_YET_UPLOADED", status=504)
        if row is None or not self._may_see(asked, is_legacy=row.is_legacy):
            raise NotFound("Media not found")
        return row

    def _look_up(self, mxc: ByMxc) -> tuple[Media | None, bool]:
        with self._store.snapshot() as snapshot:
            row = media.get_media(snapshot, mxc)
            pending = media.get_pending(snapshot, mxc.media_id) if mxc.server_name == self._server_name else None
        return row, pending is not None and pending.expires_ms > self._store.now_ms()

    def _may_see(self, asked: Asked, *, is_legacy: bool) -> bool:
        return is_legacy or self._serves_all_legacy or not asked.is_legacy

    def open(self, file_hash: bytes, content_type: str, filename: str | None) -> Content:
        """A file that is about to be served. Raises ``NotFound`` if it has gone meanwhile."""
        with self._store.snapshot() as snapshot:
            file = media.get_file(snapshot, file_hash)
        if file is None:
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
