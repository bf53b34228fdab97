"""The server as it composes itself, with every operation and its background tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from conduit_py.http.in_process import AppClient
from conduit_py.metrics import Metrics
from conduit_py.outbound.http import HttpClient
from conduit_py.server import build
from conduit_py.service.hub import SyncHub
from tests.rig.server import Server, load_test_config


class WholeServer(Server):
    """Made by ``open_whole``."""

    def __init__(self, server: Server, app: AppClient, hub: SyncHub, metrics: Metrics) -> None:
        super().__init__(server.services, server.woken)
        self._app = app
        self.hub, self.metrics = hub, metrics


@asynccontextmanager
async def open_whole(server: Server, http: HttpClient | None = None, /, **overrides: str) -> AsyncIterator[WholeServer]:
    """The same store and accounts, with everything else around them. Others are asked by ``http`` if it is given."""
    config = load_test_config(**{"RATE_LIMITS__ENABLED": "false", "DEFAULT_ROOM_VERSION": "11", **overrides})
    built = await build(config, server.store, hash_limiter=None, http=http)
    async with trio.open_nursery() as nursery:
        for task in built.tasks:
            nursery.start_soon(task)
        yield WholeServer(server, AppClient(built.app), built.hub, built.metrics)
        nursery.cancel_scope.cancel()
