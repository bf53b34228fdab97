"""The answer to a join while it is too large to be held: kept in a file, and read from there event by event.

Spec: server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any, Final, Protocol, TypeVar

import trio

from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.json_parts import Parts, find_parts
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.federation import FederationClient
from conduit_py.outbound.federation_handshakes import JOIN_BYTES_MAX, JOIN_TIMEOUT_S
from kvschema.errors import StorageFull

IN_MEMORY_MAX: Final = 4 * 1024 * 1024
"""Larger answers go to a file."""
LARGE_AT_ONCE: Final = 1
"""Large answers that are looked through at a time: each takes a few hundred megabytes, and the processor."""
WRITE_BYTES: Final = 1024 * 1024
EVENTS_MAX: Final = 1_000_000

T = TypeVar("T")


class Aside(Protocol):
    """Runs a function that takes long, and waits for it without keeping others from what they do."""

    def __call__(self, function: Callable[[], T]) -> Awaitable[T]: ...


async def at_once(function: Callable[[], T]) -> T:
    """An ``Aside`` without threads, for tests."""
    await trio.lowlevel.checkpoint()
    return function()


async def in_thread(function: Callable[[], T]) -> T:
    """An ``Aside`` for a server."""
    return await trio.to_thread.run_sync(function)


class JoinBodies:
    """One per server.

    :param folder: where files are made, which have no name and go when they are closed; None where files commonly are.
    """

    def __init__(self, client: FederationClient, folder: Path | None, aside: Aside) -> None:
        self._client = client
        self._folder = None if folder is None else str(folder)
        self.aside = aside
        self._large = trio.CapacityLimiter(LARGE_AT_ONCE)

    @asynccontextmanager
    async def fetch(self, destination: ServerName, path: str, event: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Hand in a join. Its answer can be read within the block.

        Raises ``Unreachable`` and ``Refused``, ``NotJson`` for what is no answer, and ``StorageFull``.
        """
        with tempfile.SpooledTemporaryFile(IN_MEMORY_MAX, dir=self._folder) as file:
            stream = self._client.fetch_stream(destination, path, method="PUT", content=event, timeout_s=JOIN_TIMEOUT_S)
            size, held = 0, bytearray()
            async with stream as answer:
                async for chunk in answer.chunks:
                    size += len(chunk)
                    if size > JOIN_BYTES_MAX:
                        raise Unreachable(f"the answer is larger than {JOIN_BYTES_MAX} bytes")
                    held += chunk
                    if len(held) >= WRITE_BYTES:
                        part, held = held, bytearray()
                        await self._write(file, part)
            await self._write(file, held)
            file.seek(0)
            if size <= IN_MEMORY_MAX:
                whole = file.read()
                yield await self.aside(lambda: find_parts(whole, entries_max=EVENTS_MAX))
                return
            async with self._large:
                with mmap(file.fileno(), 0, access=ACCESS_READ) as text:
                    yield await self.aside(lambda: find_parts(text, entries_max=EVENTS_MAX))

    async def _write(self, file: IO[bytes], part: bytearray) -> None:
        try:
            await self.aside(lambda: file.write(part))
        except OSError as error:
            raise StorageFull(f"the answer to a join cannot be kept: {error}") from error
