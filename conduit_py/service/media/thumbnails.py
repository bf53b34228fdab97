"""Thumbnails: found, or made and kept.

Spec: client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from functools import partial
from hashlib import sha256
from typing import Final

from conduit_py.data import media
from conduit_py.log import get_logger
from conduit_py.service.errors import InvalidParam, MatrixError, NoSpace, NotFound, TooLarge
from conduit_py.service.media.blocking import Blocking
from conduit_py.service.media.fetch import Asked, Content, FetchService
from conduit_py.service.media.files import MediaFiles
from conduit_py.service.media.keeping import Keeper, StageReference
from conduit_py.service.media.remote import RemoteMedia, RemoteTooLarge
from conduit_py.service.media.thumbnail_sizes import Form, Method, choose_form
from conduit_py.service.media.thumbnailing import CannotThumbnail, Made, TooManyPixels, make_thumbnail
from conduit_py.service.users.store import Store
from conduit_py.storage.locks import KeyedLocks
from kvschema.catalog.media import THUMBNAILS_PER_MEDIA_MAX, ByMxc, Media, Thumbnail, ThumbnailId
from kvschema.errors import PreconditionFailed, StorageFull

_log = get_logger(__name__)

REFUSED_MAX: Final = 1000
"""Files remembered of which no thumbnail can be made; one that is forgotten costs another attempt."""


class ThumbnailService:
    """One per server. ``blocking`` bounds how many images are decoded at a time: each may take much memory."""

    def __init__(
        self,
        store: Store,
        *,
        fetch: FetchService,
        remote: RemoteMedia,
        files: MediaFiles,
        keeper: Keeper,
        blocking: Blocking,
    ) -> None:
        self._store = store
        self._fetch = fetch
        self._remote = remote
        self._files = files
        self._keeper = keeper
        self._blocking = blocking
        self._making = KeyedLocks()
        self._refused: OrderedDict[bytes, type[CannotThumbnail]] = OrderedDict()

    async def get_thumbnail(
        self, asked: Asked, *, width: int, height: int, method: Method, is_animated: bool
    ) -> tuple[Content, bytes | None]:
        """The thumbnail as content to be read, with its bytes where it was made just now.

        Raises ``InvalidParam``, what ``FetchService.find`` raises, ``M_UNKNOWN`` for what has no thumbnail and
        ``M_TOO_LARGE`` for an image that is too large to make one of.
        """
        if width < 1 or height < 1:
            raise InvalidParam("width and height must be at least 1")
        form = choose_form(width, height, method, is_animated=is_animated)
        key = ThumbnailId(*asked.mxc, form.width, form.height, form.method, int(form.is_animated))
        foreign = self._get_thumbnail(key)
        if foreign is not None and foreign.is_foreign and self._fetch.may_see_new(asked):
            return self._open(foreign), None
        try:
            row = await self._fetch.find(asked)
        except RemoteTooLarge:
            wanted = {"width": str(width), "height": str(height), "method": method.name.lower()}
            return await self._get_foreign(key, {**wanted, "animated": str(is_animated).lower()}), None
        # Who looks at the thumbnail uses the image: it must not go as unused, and take the thumbnail with it.
        self._fetch.open(row.file_hash, row.content_type, row.filename)
        content = self._find(key)
        if content is not None:
            return content, None
        async with self._making.hold(key):
            content = self._find(key)
            if content is not None:
                return content, None
            made = await self._make(row, form)
            return await self._keep(key, row, made)

    async def _get_foreign(self, key: ThumbnailId, query: Mapping[str, str]) -> Content:
        """A thumbnail as the server that has the image makes it."""
        async with self._making.hold(key):
            content = self._find(key)
            if content is not None:
                return content
            if not self._may_keep_more(key):
                raise RemoteTooLarge("The media is too large to make more thumbnails of it")
            return self._open(await self._remote.fetch_thumbnail(key, query))

    def _find(self, key: ThumbnailId) -> Content | None:
        thumbnail = self._get_thumbnail(key)
        return None if thumbnail is None else self._open(thumbnail)

    def _get_thumbnail(self, key: ThumbnailId) -> Thumbnail | None:
        with self._store.snapshot() as snapshot:
            return media.get_thumbnail(snapshot, key)

    def _open(self, thumbnail: Thumbnail) -> Content:
        return self._fetch.open(thumbnail.file_hash, thumbnail.content_type, _filename_of(thumbnail.content_type))

    async def _make(self, row: Media, form: Form) -> Made:
        file_hash = row.file_hash
        refusal = self._refused.get(file_hash)
        if refusal is None:
            try:
                return await self._blocking.run(make_thumbnail, self._files.path_of(file_hash), form)
            except FileNotFoundError as error:
                raise NotFound("Media not found") from error
            except CannotThumbnail as error:
                _log.info("no thumbnail can be made", file=file_hash.hex(), why=error)
                refusal = self._refused[file_hash] = type(error)
                while len(self._refused) > REFUSED_MAX:
                    self._refused.popitem(last=False)
        if refusal is TooManyPixels:
            too_large = TooLarge if row.user else RemoteTooLarge
            raise too_large("The image is too large to make thumbnails of it")
        raise MatrixError("Cannot generate thumbnails for the requested content", errcode="M_UNKNOWN", status=400)

    async def _keep(self, key: ThumbnailId, row: Media, made: Made) -> tuple[Content, bytes | None]:
        """Keep what was made, if that can be: it is served in any case."""
        data = made.data
        file_hash = row.file_hash if data is None else sha256(data).digest()
        thumbnail = Thumbnail(file_hash, made.content_type)
        if self._may_keep_more(key):
            # Changed or removed meanwhile, or the disk is full.
            with contextlib.suppress(PreconditionFailed, StorageFull, NoSpace):
                await self._store_thumbnail(data, partial(media.stage_thumbnail, key=key, row=thumbnail, of=row))
        if data is None:
            return self._open(thumbnail), None
        return Content(file_hash, len(data), made.content_type, _filename_of(made.content_type)), data

    def _may_keep_more(self, key: ThumbnailId) -> bool:
        with self._store.snapshot() as snapshot:
            kept = sum(1 for _ in media.scan_thumbnails(snapshot, ByMxc(key.server_name, key.media_id)))
        return kept < THUMBNAILS_PER_MEDIA_MAX

    async def _store_thumbnail(self, data: bytes | None, stage: StageReference) -> None:
        if data is None:
            async with self._store.writer.turn() as turn:
                stage(turn)
            return
        async with self._files.receive(_once(data)) as received:
            await self._keeper.keep(received, stage)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _filename_of(content_type: str) -> str:
    return "thumbnail." + content_type.removeprefix("image/")
