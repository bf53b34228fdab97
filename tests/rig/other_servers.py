"""Media of other servers without the servers: what is to be fetched, how it comes, and who asked for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.errors import Refused
from conduit_py.outbound.media import RemoteFile, TooLarge


@dataclass
class Medium:
    """What a server gives for a media id."""

    content: bytes = b""
    content_type: str = "text/plain"
    filename: str | None = None
    error: Exception | None = None
    """Raised in place of the content, or after it where it has some."""
    may_begin: trio.Event | None = None
    may_end: trio.Event | None = None
    """What the first byte and the end wait for; nothing if there is no event."""
    asked: list[Mapping[str, str]] = field(default_factory=list)
    """Queries, in order."""


NOTHING = Medium(error=Refused(404, "M_NOT_FOUND", "there is nothing"))


class OtherServers:
    """Every server but the forbidden ones. ``media`` and ``thumbnails`` are what they have, by URI."""

    def __init__(self) -> None:
        self.media: dict[str, Medium] = {}
        self.thumbnails: dict[str, Medium] = {}
        self.forbidden: set[str] = {"one.test"}
        self.running: dict[str, int] = {}
        self.most_running: dict[str, int] = {}

    def may_ask(self, server_name: ServerName) -> bool:
        return server_name not in self.forbidden

    def has(self, uri: str, content: bytes, content_type: str = "text/plain", filename: str | None = None) -> Medium:
        medium = self.media[uri] = Medium(content, content_type, filename)
        return medium

    def fails(self, uri: str, error: Exception, content: bytes = b"") -> Medium:
        medium = self.media[uri] = Medium(content, error=error)
        return medium

    @asynccontextmanager
    async def fetch_file(
        self, server_name: ServerName, media_id: str, *, timeout_ms: int, bytes_max: int
    ) -> AsyncIterator[RemoteFile]:
        medium = self.media.get(f"mxc://{server_name}/{media_id}", NOTHING)
        async with self._serve(server_name, medium, {"timeout_ms": str(timeout_ms)}, bytes_max) as file:
            yield file

    @asynccontextmanager
    async def fetch_thumbnail(
        self, server_name: ServerName, media_id: str, query: Mapping[str, str], *, bytes_max: int
    ) -> AsyncIterator[RemoteFile]:
        medium = self.thumbnails[f"mxc://{server_name}/{media_id}"]
        async with self._serve(server_name, medium, query, bytes_max) as file:
            yield file

    @asynccontextmanager
    async def _serve(
        self, server_name: str, medium: Medium, query: Mapping[str, str], bytes_max: int
    ) -> AsyncIterator[RemoteFile]:
        medium.asked.append(query)
        for name in (server_name, "all"):
            self.running[name] = self.running.get(name, 0) + 1
            self.most_running[name] = max(self.most_running.get(name, 0), self.running[name])
        try:
            await trio.lowlevel.checkpoint()
            if medium.may_begin is not None:
                await medium.may_begin.wait()
            if medium.error is not None and not medium.content:
                raise medium.error
            async with contextlib.aclosing(_chunks(medium, bytes_max)) as chunks:
                yield RemoteFile(medium.content_type, medium.filename, chunks)
        finally:
            for name in (server_name, "all"):
                self.running[name] -= 1


async def _chunks(medium: Medium, bytes_max: int) -> AsyncGenerator[bytes, None]:
    middle = len(medium.content) // 2
    yield medium.content[:middle]
    if medium.may_end is not None:
        await medium.may_end.wait()
    if medium.error is not None:
        raise medium.error
    if len(medium.content) > bytes_max:
        raise TooLarge("too large")
    yield medium.content[middle:]
