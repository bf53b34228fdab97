"""A server with a content repository in a directory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import trio

from conduit_py.api.accounts import account_routes
from conduit_py.api.auth import Authenticator
from conduit_py.api.media import media_routes
from conduit_py.data import media
from conduit_py.http.app import App
from conduit_py.http.in_process import AppClient
from conduit_py.service.errors import MatrixError
from conduit_py.service.media.build import MediaServices, build_media
from conduit_py.service.media.remote import Source
from conduit_py.service.translate import translate
from conduit_py.service.users.throttle import Throttle
from kvschema.catalog.media import ByMxc, Media
from tests.rig.client import Client, Response
from tests.rig.other_servers import OtherServers
from tests.rig.server import Server, load_test_config

DOWNLOAD = "/_matrix/client/v1/media/download"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail"
LEGACY_DOWNLOAD = "/_matrix/media/v3/download"
LEGACY_THUMBNAIL = "/_matrix/media/v3/thumbnail"
UPLOAD = "/_matrix/media/v3/upload"
CREATE = "/_matrix/media/v1/create"


class MediaServer(Server):
    """Made by ``open_media``."""

    def __init__(self, server: Server, app: App, services: MediaServices, throttled: list[Hashable]) -> None:
        super().__init__(server.services, server.woken)
        self._app = AppClient(app)
        self.media = services
        self.throttled = throttled
        """The keys under which attempts were counted."""

    @property
    def root(self) -> Path:
        return self.media.files.root

    def on_disk(self) -> list[Path]:
        """Every file in the media directory but the mark."""
        found = [path for path in self.root.rglob("*") if path.is_file() and path.name != ".conduit_py"]
        return sorted(path.relative_to(self.root) for path in found)

    def row_of(self, uri: str) -> Media | None:
        with self.store.snapshot() as snapshot:
            return media.get_media(snapshot, mxc_of(uri))


@asynccontextmanager
async def open_media(
    server: Server,
    root: Path,
    *,
    source: Source | None = None,
    runs: bool = False,
    throttle: Throttle = lambda key: None,
    **overrides: str,
) -> AsyncIterator[MediaServer]:
    """The same store and accounts with a content repository.

    :param source: where media of other servers come from; nowhere unless given.
    :param runs: with the tasks that clean up, too.
    """
    config = load_test_config(MEDIA__PATH=str(root), **overrides)
    throttled: list[Hashable] = []
    numbers = count(len(throttled))
    prefix = f"run{next(_RUNS)}x"

    def count_attempt(key: tuple[str, Hashable]) -> None:
        throttled.append(key)
        throttle(key)

    services = build_media(
        config,
        server.store,
        source or OtherServers(),
        throttle=count_attempt,
        random_id=lambda: f"{prefix}{next(numbers)}",
        has_threads=False,
    )
    accounts = server.services.accounts
    auth = Authenticator(accounts.tokens, accounts.identities, accounts.last_seen, config.trusted_proxies)
    app = App(
        [*account_routes(config, auth, accounts, {}), *media_routes(config, auth, services, count_attempt)],
        request_bytes_max=config.max_request_size,
        refusals=(MatrixError,),
        translate=translate,
    )
    async with trio.open_nursery() as nursery:
        for task in services.tasks if runs else [services.remote.run]:
            nursery.start_soon(task)
        yield MediaServer(server, app, services, throttled)
        nursery.cancel_scope.cancel()


_RUNS = count()


def mxc_of(uri: str) -> ByMxc:
    server_name, media_id = uri.removeprefix("mxc://").split("/")
    return ByMxc(server_name, media_id)


async def ask_upload(
    user: Client, content: bytes, content_type: str | None = "text/plain", filename: str | None = None
) -> Response:
    query = "" if filename is None else "?" + urlencode({"filename": filename})
    headers = {} if content_type is None else {"Content-Type": content_type}
    return await user.request("POST", UPLOAD + query, body=content, headers=headers)


async def upload(
    user: Client, content: bytes, content_type: str | None = "text/plain", filename: str | None = None
) -> str:
    """Store content and return its URI."""
    response = await ask_upload(user, content, content_type, filename)
    assert response.status == 200, response.body
    uri: str = response.json["content_uri"]
    return uri


async def ask_upload_to(user: Client, uri: str, content: bytes, content_type: str = "text/plain") -> Response:
    path = f"{UPLOAD}/{uri.removeprefix('mxc://')}"
    return await user.request("PUT", path, body=content, headers={"Content-Type": content_type})


async def create(user: Client) -> str:
    response = await user.request("POST", CREATE)
    assert response.status == 200, response.body
    uri: str = response.json["content_uri"]
    return uri


async def download(
    user: Client, uri: str, *, base: str = DOWNLOAD, method: str = "GET", query: str = "", **headers: str
) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await user.request(method, f"{base}/{uri.removeprefix('mxc://')}{query}", headers=named)


async def thumbnail(user: Client, uri: str, *, base: str = THUMBNAIL, **query: Any) -> Response:
    return await user.request("GET", f"{base}/{uri.removeprefix('mxc://')}?{urlencode(query)}")
