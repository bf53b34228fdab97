"""Builds the services of the content repository in dependency order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from conduit_py.config import Config
from conduit_py.matrix.ids import ServerName
from conduit_py.service.media.access import FileAccess
from conduit_py.service.media.arrivals import Arrivals
from conduit_py.service.media.blocking import Blocking
from conduit_py.service.media.blocks import MediaBlocks
from conduit_py.service.media.fetch import FetchService
from conduit_py.service.media.files import MediaFiles
from conduit_py.service.media.keeping import Keeper
from conduit_py.service.media.remote import AT_ONCE_MAX, RemoteMedia, Source
from conduit_py.service.media.removal import Removal
from conduit_py.service.media.retention import MediaSweep
from conduit_py.service.media.thumbnails import ThumbnailService
from conduit_py.service.media.upload import UploadService
from conduit_py.service.users.store import Store
from conduit_py.service.users.throttle import Throttle

DISK_THREADS: Final = 8
IMAGES_AT_ONCE: Final = 1
"""Decoded at a time: each may take some hundred MB, and a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaServices:
    """The content repository of one server, for whoever composes it. Services take the few they need, never this."""

    upload: UploadService
    fetch: FetchService
    thumbnails: ThumbnailService
    remote: RemoteMedia
    blocks: MediaBlocks
    removal: Removal
    sweep: MediaSweep
    access: FileAccess
    files: MediaFiles

    @property
    def tasks(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """Each is owned by the nursery tree."""
        return (self.sweep.run, self.access.run, self.remote.run)


def build_media(
    config: Config,
    store: Store,
    source: Source,
    *,
    throttle: Throttle,
    random_id: Callable[[], str],
    has_threads: bool,
) -> MediaServices:
    """Every service of the content repository. ``random_id`` gives the alphanumeric words that media ids are."""
    server_name = ServerName(config.server_name)
    disk = Blocking(trio.CapacityLimiter(DISK_THREADS) if has_threads else None)
    images = Blocking(trio.CapacityLimiter(IMAGES_AT_ONCE) if has_threads else None)
    files = MediaFiles(config.media.path, config.media.directory_structure, disk, run_id=random_id())
    access, arrivals = FileAccess(store), Arrivals()
    keeper, blocks = Keeper(store, files, access), MediaBlocks(store)
    remote = RemoteMedia(
        store,
        source,
        files=files,
        keeper=keeper,
        bytes_max=config.media.remote_size_max,
        at_once_max=max(min(AT_ONCE_MAX, config.max_concurrent_requests // 4), 1),
        is_legacy=config.media.allow_legacy,
    )
    fetch = FetchService(
        server_name,
        store,
        files=files,
        access=access,
        arrivals=arrivals,
        remote=remote,
        blocks=blocks,
        serves_all_legacy=config.media.allow_legacy,
    )
    removal = Removal(store, files, access)
    return MediaServices(
        upload=UploadService(
            server_name,
            store,
            files=files,
            keeper=keeper,
            arrivals=arrivals,
            throttle=throttle,
            random_id=random_id,
            is_legacy=config.media.allow_legacy,
        ),
        fetch=fetch,
        thumbnails=ThumbnailService(store, fetch=fetch, remote=remote, files=files, keeper=keeper, blocking=images),
        remote=remote,
        blocks=blocks,
        removal=removal,
        sweep=MediaSweep(server_name, store, config.media.retention, files, removal),
        access=access,
        files=files,
    )
