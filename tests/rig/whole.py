"""The server as it composes itself, with every operation and its background tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from conduit_py.config import Proxy
from conduit_py.http.in_process import AppClient
from conduit_py.outbound.http import HttpClient
from conduit_py.server import Server as BuiltServer
from conduit_py.server import build
from tests.outbound.web import Cables, FakeDns
from tests.rig.server import Server, load_test_config


class WholeServer(Server):
    """Made by ``open_whole``."""

    def __init__(self, server: Server, built: BuiltServer) -> None:
        super().__init__(server.services, server.woken)
        self._app = AppClient(built.app)
        self.hub, self.metrics, self.rooms = built.hub, built.metrics, built.rooms
        self.admin = built.admin
        """There is no Admin Room before ``admin.prepare``, so that other tests have no room that they did not make."""


@asynccontextmanager
async def open_whole(server: Server, http: HttpClient | None = None, /, **overrides: str) -> AsyncIterator[WholeServer]:
    """The same store and accounts, with everything else around them.

    Others are asked by ``http`` if it is given; without it nobody can be reached.
    """
    config = load_test_config(**{"RATE_LIMITS__ENABLED": "false", "DEFAULT_ROOM_VERSION": "11", **overrides})
    built = await build(config, server.store, hash_limiter=None, dns=FakeDns(), http=http or _unconnected())
    async with trio.open_nursery() as nursery:
        for task in built.tasks:
            nursery.start_soon(task)
        yield WholeServer(server, built)
        nursery.cancel_scope.cancel()


def _unconnected() -> HttpClient:
    """Finds no name and no address. A real attempt would end when it likes to."""
    dns, cables = FakeDns(), Cables()
    return HttpClient(dns=dns, denylist=(), proxy=Proxy(), ca_certificates=None, requests_max=10, tcp=cables)
