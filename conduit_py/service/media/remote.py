"""Media of other servers: fetched when somebody asks for them, and kept like our own until they are long unused.

One fetch per medium, whoever asks and however many: the fetch is a task of its own, which goes on when those who wait
for it leave, so that a slow server's file is there for the next who asks. What comes is written to ``incoming/`` as an
upload is, and becomes a medium when all of it is on disk; a fetch that fails anywhere leaves nothing but the failure,
which is remembered for a minute, in memory.

Spec: server-server-api/#content-repository
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import trio

from conduit_py.data import media
from conduit_py.log import get_logger
from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.errors import Refused, RemoteError, Unreachable
from conduit_py.outbound.media import RemoteFile, TooLarge
from conduit_py.service.errors import LimitExceeded, MatrixError, NotFound
from conduit_py.service.media.arrivals import NotYetUploaded
from conduit_py.service.media.files import MediaFiles
from conduit_py.service.media.keeping import FileIsBlocked, Keeper
from conduit_py.service.media.thumbnailing import SAFE_TYPES
from conduit_py.service.media.upload import describe_remote
from conduit_py.service.users.store import Store
from kvschema.catalog.media import ByMxc, Media, Thumbnail, ThumbnailId
from kvschema.errors import PreconditionFailed

_log = get_logger(__name__)

FETCHES_MAX: Final = 256
"""Media that are being fetched or wait for their turn."""
AT_ONCE_MAX: Final = 16
"""Of the requests to other servers, a quarter at the most: the rest is for events."""
PER_SERVER_MAX: Final = 4
"""A server that is slow must not hold up the media of all others."""
PATIENCE_S: Final = 60.0
"""How long somebody waits for a file to begin, beside the time that its upload may take."""
FAILURE_MS: Final = 60_000
"""How long a failure is remembered, of a medium or of a server that cannot be reached."""
LIMITED_MS: Final = 5_000
"""How long a server that wants to be asked less is not asked, where it does not say."""
FAILURES_MAX: Final = 2_000
THUMBNAIL_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of a thumbnail that another server made."""


class Source(Protocol):
    """Where media come from: ``outbound.media.MediaClient``, or what a test puts in its place."""

    def may_ask(self, server_name: ServerName) -> bool: ...

    def fetch_file(
        self, server_name: ServerName, media_id: str, *, timeout_ms: int, bytes_max: int
    ) -> AbstractAsyncContextManager[RemoteFile]: ...

    def fetch_thumbnail(
        self, server_name: ServerName, media_id: str, query: Mapping[str, str], *, bytes_max: int
    ) -> AbstractAsyncContextManager[RemoteFile]: ...


class RemoteTooLarge(MatrixError):
    """Another server's file is larger than what is fetched.

    Spec: client-server-api/#content-repo-security-considerations
    """

    errcode, status = "M_TOO_LARGE", 502


class CannotFetch(MatrixError):
    """The other server cannot be asked, or does not give the file."""

    errcode, status = "M_UNKNOWN", 502


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a fetch failed, as each who waits is told."""

    kind: type[MatrixError]
    message: str
    key: Hashable | None = None
    """What is not asked about for a while: a medium, a thumbnail, or a server's name for all that is of it."""
    for_ms: int = FAILURE_MS

    def build(self) -> MatrixError:
        extra = {"retry_after_ms": self.for_ms} if self.kind is LimitExceeded else None
        return self.kind(self.message, extra=extra)


_CUT_OFF: Final = _Failure(CannotFetch, "The media could not be fetched")


@dataclass(eq=False, slots=True)
class _Fetch:
    mxc: ByMxc
    timeout_ms: int
    has_begun: trio.Event = field(default_factory=trio.Event)
    has_ended: trio.Event = field(default_factory=trio.Event)
    error: _Failure | Exception | None = _CUT_OFF


class RemoteMedia:
    """One per server. ``run`` is owned by the nursery tree.

    :param bytes_max: of a file that is fetched.
    :param at_once_max: files that are fetched at the same time.
    :param is_legacy: what is fetched now is reachable without an access token too.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        *,
        files: MediaFiles,
        keeper: Keeper,
        bytes_max: int,
        at_once_max: int,
        is_legacy: bool,
    ) -> None:
        self._store = store
        self._source = source
        self._files = files
        self._keeper = keeper
        self._bytes_max = bytes_max
        self._is_legacy = is_legacy
        self._fetches: dict[ByMxc, _Fetch] = {}
        self._failures = _Failures(store)
        self._places = _Places(at_once_max)
        self._queue, self._queued = trio.open_memory_channel[_Fetch](FETCHES_MAX)

    async def fetch(self, mxc: ByMxc, timeout_ms: int) -> None:
        """Return when the medium has been stored.

        Raises ``NotFound``, ``NotYetUploaded``, ``RemoteTooLarge``, ``CannotFetch``, ``LimitExceeded``, ``NoSpace``.
        """
        deadline = trio.current_time() + timeout_ms / 1000
        while True:
            fetch = self._fetches.get(mxc)
            is_first = fetch is None
            if fetch is None:
                left_ms = max(round((deadline - trio.current_time()) * 1000), 0)
                fetch = self._begin(_Fetch(mxc, left_ms))
            with trio.move_on_at(deadline + PATIENCE_S):
                await fetch.has_begun.wait()
            if not fetch.has_begun.is_set():
                raise NotYetUploaded("The media has not come yet")
            await fetch.has_ended.wait()
            if fetch.error is None:
                return
            if not isinstance(fetch.error, _Failure):
                raise fetch.error
            # Whoever asked first may have had less time than this one has.
            may_wait = fetch.error.kind is NotYetUploaded and not is_first and trio.current_time() < deadline
            if not may_wait:
                raise fetch.error.build()

    def _begin(self, fetch: _Fetch) -> _Fetch:
        self._require_askable(fetch.mxc, fetch.mxc)
        if len(self._fetches) >= FETCHES_MAX:
            raise LimitExceeded("Too many media are being fetched", extra={"retry_after_ms": LIMITED_MS})
        self._fetches[fetch.mxc] = fetch
        self._queue.send_nowait(fetch)
        return fetch

    def _require_askable(self, mxc: ByMxc, key: Hashable) -> None:
        """Raises what asking again would end in."""
        if not self._source.may_ask(ServerName(mxc.server_name)):
            raise NotFound("Media not found")
        known = self._failures.get(key) or self._failures.get(mxc.server_name)
        if known is not None:
            raise known.build()

    async def run(self) -> None:
        """Fetches what is asked for."""
        async with trio.open_nursery() as nursery:
            async for fetch in self._queued:
                nursery.start_soon(self._carry_out, fetch)

    async def _carry_out(self, fetch: _Fetch) -> None:
        try:
            async with self._places.hold(fetch.mxc.server_name):
                fetch.error = await self._attempt(fetch)
        except Exception as error:
            fetch.error = error
        finally:
            del self._fetches[fetch.mxc]
            fetch.has_begun.set()
            fetch.has_ended.set()

    async def _attempt(self, fetch: _Fetch) -> _Failure | None:
        mxc, server_name = fetch.mxc, ServerName(fetch.mxc.server_name)
        known = self._failures.get(server_name)
        if known is not None:
            return known  # found out while this fetch waited for its turn
        try:
            async with self._source.fetch_file(
                server_name, mxc.media_id, timeout_ms=fetch.timeout_ms, bytes_max=self._bytes_max
            ) as file:
                fetch.has_begun.set()
                await self._keep(mxc, file)
        except RemoteError as error:
            return self._note(error, mxc, mxc, has_begun=fetch.has_begun.is_set())
        except FileIsBlocked:
            return _Failure(NotFound, "Media not found", mxc)
        except PreconditionFailed:
            return _Failure(NotFound, "Media not found")  # blocked meanwhile
        return None

    async def _keep(self, mxc: ByMxc, file: RemoteFile) -> None:
        async with self._files.receive(file.chunks) as received:
            description = describe_remote(file.content_type, file.filename)
            row = Media(
                file_hash=received.file_hash,
                content_type=description.content_type,
                created_ms=self._store.now_ms(),
                filename=description.filename,
                is_legacy=self._is_legacy,
            )
            await self._keeper.keep(received, partial(media.stage_fetched_media, mxc=mxc, row=row))

    async def fetch_thumbnail(self, key: ThumbnailId, query: Mapping[str, str]) -> Thumbnail:
        """Store a thumbnail as the other server makes it, of a medium that is not fetched. Raises as ``fetch``.

        Nobody else may be at the same one.
        """
        mxc, server_name = ByMxc(key.server_name, key.media_id), ServerName(key.server_name)
        self._require_askable(mxc, key)
        has_begun = False
        async with self._places.hold(server_name):
            try:
                async with self._source.fetch_thumbnail(
                    server_name, key.media_id, query, bytes_max=min(THUMBNAIL_BYTES_MAX, self._bytes_max)
                ) as file:
                    has_begun = True
                    content_type = file.content_type.partition(";")[0].strip().lower()
                    if content_type not in SAFE_TYPES:
                        raise CannotFetch(f"{server_name} gave what is no thumbnail")
                    async with self._files.receive(file.chunks) as received:
                        row = Thumbnail(received.file_hash, content_type, is_foreign=True)
                        await self._keeper.keep(received, partial(media.stage_foreign_thumbnail, key=key, row=row))
            except RemoteError as error:
                raise self._note(error, mxc, key, has_begun=has_begun).build() from error
            except (PreconditionFailed, FileIsBlocked) as error:
                raise NotFound("Media not found") from error  # blocked meanwhile
        return row

    def _note(self, error: RemoteError, mxc: ByMxc, key: Hashable, *, has_begun: bool) -> _Failure:
        """What those who wait are told, and those who ask in the next time."""
        _log.info("media could not be fetched", server=mxc.server_name, media_id=mxc.media_id, why=error)
        failure = _failure_of(error, mxc, key, has_begun=has_begun)
        self._failures.note(failure)
        return failure


def _failure_of(error: RemoteError, mxc: ByMxc, key: Hashable, *, has_begun: bool) -> _Failure:
    match error:
        case Refused(errcode="M_NOT_YET_UPLOADED"):
            return _Failure(NotYetUploaded, "The media has not been uploaded yet")
        case TooLarge() | Refused(errcode="M_TOO_LARGE"):
            return _Failure(RemoteTooLarge, "The media is larger than what this server fetches", key)
        case Refused(status=429):
            for_ms = min(error.retry_after_ms or LIMITED_MS, FAILURE_MS)
            return _Failure(LimitExceeded, f"{mxc.server_name} wants to be asked less", mxc.server_name, for_ms)
        case Refused(status=404):
            return _Failure(NotFound, "Media not found", key)
        case Unreachable() if not has_begun:
            return _Failure(CannotFetch, f"{mxc.server_name} cannot be asked for the media", mxc.server_name)
        case _:
            return _Failure(CannotFetch, f"{mxc.server_name} did not give the media", key)


class _Failures:
    """Those of the last minute."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: OrderedDict[Hashable, tuple[_Failure, int]] = OrderedDict()

    def get(self, key: Hashable) -> _Failure | None:
        failure, until_ms = self._noted.get(key, (None, 0))
        return failure if until_ms > self._store.now_ms() else None

    def note(self, failure: _Failure) -> None:
        if failure.key is None:
            return
        self._noted[failure.key] = (failure, self._store.now_ms() + failure.for_ms)
        self._noted.move_to_end(failure.key)
        if len(self._noted) > FAILURES_MAX:
            self._noted.popitem(last=False)


class _Places:
    """How many fetch at the same time, of one server and in all."""

    def __init__(self, at_once_max: int) -> None:
        self._all = trio.Semaphore(at_once_max)
        self._of_server: dict[str, trio.Semaphore] = {}

    @asynccontextmanager
    async def hold(self, server_name: str) -> AsyncIterator[None]:
        places = self._of_server.setdefault(server_name, trio.Semaphore(PER_SERVER_MAX))
        try:
            async with places, self._all:
                yield
        finally:
            if places.value == PER_SERVER_MAX:
                self._of_server.pop(server_name, None)
