"""Uploads, at once or to an id that was asked for before.

Spec: client-server-api/#post_matrixmediav3upload
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import Final

from conduit_py.data import media
from conduit_py.matrix.ids import ServerName
from conduit_py.service.errors import Forbidden, InvalidParam, LimitExceeded, MatrixError, NotFound
from conduit_py.service.media.arrivals import Arrivals
from conduit_py.service.media.files import MediaFiles
from conduit_py.service.media.keeping import Keeper
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.service.users.throttle import Throttle
from conduit_py.storage.writer import Turn
from kvschema.catalog.media import PENDING_PER_USER_MAX, ByMxc, Media, PendingMedia
from kvschema.errors import PreconditionFailed

PENDING_MS: Final = 24 * 3600 * 1000
"""How long an id waits for its upload: the spec's recommendation."""
FILENAME_BYTES_MAX: Final = 1024
CONTENT_TYPE_BYTES_MAX: Final = 255
DEFAULT_TYPE: Final = "application/octet-stream"
_CONTENT_TYPE: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+(?:[ \t]*;[ -~\t]*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the uploader says of the content."""

    content_type: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class Created:
    content_uri: str
    unused_expires_at_ms: int


def describe(content_type: str, filename: str | None) -> Description:
    """What is kept of a client's words. Raises ``InvalidParam``."""
    if filename is not None and _is_long(filename):
        raise InvalidParam(f"filename is longer than {FILENAME_BYTES_MAX} bytes")
    return describe_remote(content_type, filename)


def describe_remote(content_type: str, filename: str | None) -> Description:
    """What is kept of another server's words."""
    is_type = len(content_type) <= CONTENT_TYPE_BYTES_MAX and _CONTENT_TYPE.fullmatch(content_type)
    return Description(
        content_type=content_type if is_type else DEFAULT_TYPE,
        filename=filename if filename and not _is_long(filename) else None,
    )


def _is_long(filename: str) -> bool:
    return len(filename.encode("utf-8", "surrogatepass")) > FILENAME_BYTES_MAX


class UploadService:
    """Media of our users. ``is_legacy``: what is stored now is reachable without an access token too."""

    def __init__(
        self,
        server_name: ServerName,
        store: Store,
        *,
        files: MediaFiles,
        keeper: Keeper,
        arrivals: Arrivals,
        throttle: Throttle,
        random_id: Callable[[], str],
        is_legacy: bool,
    ) -> None:
        self._server_name = server_name
        self._store = store
        self._files = files
        self._keeper = keeper
        self._arrivals = arrivals
        self._throttle = throttle
        self._random_id = random_id
        self._is_legacy = is_legacy

    async def upload(self, requester: Requester, content: AsyncIterable[bytes], description: Description) -> str:
        """Store content and return its ``mxc://`` URI. Raises ``LimitExceeded``, ``NoSpace``."""
        self._admit(requester)
        mxc = ByMxc(self._server_name, self._random_id())
        async with self._files.receive(content) as received:
            row = self._row(requester, received.file_hash, description)
            await self._keeper.keep(received, lambda turn: media.stage_media(turn, mxc, row))
        return uri_of(mxc)

    async def create(self, requester: Requester) -> Created:
        """An id to upload to within a day. Raises ``LimitExceeded``.

        Spec: client-server-api/#post_matrixmediav1create
        """
        self._admit(requester)
        media_id, now_ms = self._random_id(), self._store.now_ms()
        row = PendingMedia(requester.user, now_ms + PENDING_MS)
        async with self._store.locks.hold(("pending media", requester.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                pending = dict(media.scan_pending_of(snapshot, requester.user))
            waiting = [one.expires_ms for one in pending.values() if one.expires_ms > now_ms]
            if len(waiting) >= PENDING_PER_USER_MAX:
                raise LimitExceeded(
                    f"{len(waiting)} media that you created wait for their upload",
                    extra={"retry_after_ms": min(waiting) - now_ms},
                )
            media.stage_pending(turn, media_id, row)
        return Created(uri_of(ByMxc(self._server_name, media_id)), row.expires_ms)

    async def upload_to(
        self,
        requester: Requester,
        server_name: str,
        media_id: str,
        content: AsyncIterable[bytes],
        description: Description,
    ) -> None:
        """Store content under an id that ``create`` gave out.

        Raises ``M_CANNOT_OVERWRITE_MEDIA``, ``NotFound``, ``Forbidden``, ``LimitExceeded`` and ``NoSpace``.

        Spec: client-server-api/#put_matrixmediav3uploadservernamemediaid
        """
        mxc = ByMxc(server_name, media_id)
        pending = self._require_pending(requester, mxc)
        self._admit(requester)
        async with self._files.receive(content) as received:
            row = self._row(requester, received.file_hash, description)

            def stage(turn: Turn) -> None:
                media.stage_pending_removed(turn, media_id, pending)
                media.stage_media(turn, mxc, row)
                turn.on_landed(lambda: self._arrivals.announce(media_id))

            try:
                await self._keeper.keep(received, stage)
            except PreconditionFailed:
                self._require_pending(requester, mxc)
                raise

    def _require_pending(self, requester: Requester, mxc: ByMxc) -> PendingMedia:
        with self._store.snapshot() as snapshot:
            pending = media.get_pending(snapshot, mxc.media_id) if mxc.server_name == self._server_name else None
            is_there = media.get_media(snapshot, mxc) is not None
        if is_there:
            raise MatrixError("The media has been uploaded already", errcode="M_CANNOT_OVERWRITE_MEDIA", status=409)
        if pending is None or pending.expires_ms <= self._store.now_ms():
            raise NotFound("There is no such media ID, or its time is over")
        if pending.user != requester.user:
            raise Forbidden("Somebody else created this media ID")
        return pending

    def _admit(self, requester: Requester) -> None:
        requester.require_not_suspended()
        self._throttle(("media_upload", requester.limited_as))

    def _row(self, requester: Requester, file_hash: bytes, description: Description) -> Media:
        return Media(
            file_hash=file_hash,
            content_type=description.content_type,
            created_ms=self._store.now_ms(),
            filename=description.filename,
            user=requester.user,
            is_legacy=self._is_legacy,
        )


def uri_of(mxc: ByMxc) -> str:
    """Spec: client-server-api/#matrix-content-mxc-uris"""
    return f"mxc://{mxc.server_name}/{mxc.media_id}"
