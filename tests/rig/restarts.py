"""A server on real files that is restarted between two requests, and clients that do not notice."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Literal

from conduit_py.data.consistency import check_consistency
from conduit_py.storage.database import record_start
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine
from tests.rig.client import Client
from tests.rig.server import START_MS, load_test_config, open_server
from tests.rig.whole import WholeServer, open_whole

End = Literal["closed", "killed"]
"""How the server ends: in order, or so that the next one finds the files as they were at that moment."""


class Restarts:
    """One server after the other on the same files, with the clients of them all."""

    def __init__(self, directory: Path, **overrides: str) -> None:
        self._directory = directory
        self._overrides = {"MEDIA__PATH": str(directory / "media"), **overrides}
        self._lives = 0
        self._clients: list[Client] = []
        self.whole: WholeServer
        """The server that runs now."""

    def client(self) -> Client:
        self._clients.append(self.whole.client())
        return self._clients[-1]

    async def register(self, name: str, **more: Any) -> Client:
        self._clients.append(await self.whole.register(name, **more))
        return self._clients[-1]

    async def log_in(self, user: Client, **more: Any) -> Client:
        self._clients.append(await self.whole.log_in(user, **more))
        return self._clients[-1]

    @asynccontextmanager
    async def live(self, end: End) -> AsyncIterator[None]:
        """One life of the server."""
        files = self._directory / f"life{self._lives}"
        with closing(LmdbEngine(files, [tree.name for tree in CATALOG], reserve_bytes=0)) as engine:
            # Positions go on from the clock, as they do when a process starts.
            last_pos = record_start(engine, (START_MS + self._lives * 1000) * 1000)
            self._lives += 1
            next_files = self._directory / f"life{self._lives}"
            async with (
                open_server(engine, load_test_config(**self._overrides), last_pos=last_pos) as server,
                open_whole(server, **self._overrides) as self.whole,
            ):
                for client in self._clients:
                    client.move(self.whole.client())
                yield
                if end == "killed":
                    shutil.copytree(files, next_files)
                with self.whole.store.snapshot() as snapshot:
                    problems = list(check_consistency(snapshot))
                    assert problems == [], problems
        if end == "closed":
            files.rename(next_files)
