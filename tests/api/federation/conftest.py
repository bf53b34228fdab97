"""Servers that other servers ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from trio.testing import MockClock

from conduit_py.http.in_process import AppClient, ClientReply
from conduit_py.server import build
from kvschema.engine import Engine
from tests.api.federation.network import Network, open_network
from tests.api.federation.reading import Shared, open_shared
from tests.api.federation.scene import Scene, open_scene
from tests.rig.network import Node
from tests.rig.network import open_network as open_servers
from tests.rig.server import Server, load_test_config


class Asked:
    """A whole server, as another one sees it."""

    def __init__(self, app: AppClient) -> None:
        self._app = app

    async def get(self, path: str) -> ClientReply:
        return await self._app.request("GET", path)

    async def post(self, path: str, body: bytes) -> ClientReply:
        return await self._app.request("POST", path, {"Content-Type": "application/json"}, body)


Open = Callable[..., AbstractAsyncContextManager[Asked]]


@pytest.fixture
def open_asked(server: Server) -> Open:
    """Opens a server that federates, unless told otherwise by variables such as ``ALLOW_FEDERATION="false"``."""

    @asynccontextmanager
    async def open_it(**variables: str) -> AsyncIterator[Asked]:
        config = load_test_config(**{"ALLOW_FEDERATION": "true", "TRUSTED_SERVERS": '[""]', **variables})
        built = await build(config, server.store, hash_limiter=None)
        yield Asked(AppClient(built.app))

    return open_it


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with open_network(tmp_path) as network:
        yield network


@pytest.fixture
async def scene(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> AsyncIterator[Scene]:
    async with open_scene(make_engine) as scene:
        yield scene


@pytest.fixture
async def server_one(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> AsyncIterator[Node]:
    """one.test, whole, in a network without others."""
    async with open_servers(make_engine, "one.test") as servers:
        yield servers["one.test"]


@pytest.fixture
async def shared(server_one: Node) -> Shared:
    return await open_shared(server_one)
