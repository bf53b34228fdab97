"""Handlers that a test watches and holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import trio

from conduit_py.http import App, Raw, Request, Routes, Streamed
from tests.http.wire import Wire, app_of, head

__all__ = ["LONG_S", "SHORT_S", "Story", "says_hello"]

LONG_S = 3600
"""A limit that must not be what ends the connection."""

SHORT_S = 0.05


class Story:
    """Handlers that a test watches and holds."""

    def __init__(self) -> None:
        self.is_waiting = trio.Event()
        self.was_cancelled = trio.Event()
        self.go = trio.Event()
        self.body = b""

    def declare(self, routes: Routes) -> None:
        @routes.get("/hello")
        async def hello(request: Request) -> dict[str, Any]:
            return {"hello": "world"}

        @routes.get("/wait")
        async def wait(request: Request) -> dict[str, Any]:
            self.is_waiting.set()
            try:
                await self.go.wait()
            finally:
                if not self.go.is_set():
                    self.was_cancelled.set()
            return {}

        @routes.put("/echo")
        async def echo(request: Request) -> Raw:
            return Raw(await request.get_data(), "text/plain")

        @routes.put("/ignore")
        async def ignore(request: Request) -> tuple[dict[str, Any], int]:
            return {}, 401

        @routes.put("/late")
        async def late(request: Request) -> dict[str, Any]:
            self.is_waiting.set()
            await self.go.wait()
            self.body = await request.get_data()
            return {"length": len(self.body)}

        @routes.get("/large")
        async def large(request: Request) -> Raw:
            return Raw(b"x" * 50_000_000, "text/plain")

        @routes.get("/stream")
        async def stream(request: Request) -> Streamed:
            return Streamed(self.chunks(), "text/plain")

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"one "
        await trio.lowlevel.checkpoint()
        yield b"two"

    @property
    def app(self) -> App:
        return app_of(self.declare)


async def says_hello(wire: Wire) -> bool:
    peer = await wire.connect()
    return (await peer.ask(head("GET /hello"))).status == 200
