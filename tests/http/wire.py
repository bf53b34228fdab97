"""A peer that says on the wire exactly what a test wants, and a server for it to talk to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import h11
import orjson
import trio

from conduit_py.http import App, HttpConfig, HttpLimits, Routes, serve_http

__all__ = ["PATIENCE_S", "Peer", "Received", "Wire", "app_of", "head", "limits", "serving"]

PATIENCE_S = 60
"""A test that waits longer than this for the server has failed."""

REQUEST_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Received:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


class Peer:
    """A client on one connection."""

    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType) -> None:
        self.stream = stream
        self.sock = sock
        self.was_reset = False
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def receive(self, *, method: str = "GET") -> Received:
        """The next reply, which must be whole."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "one.test")]))
        parser.send(h11.EndOfMessage())
        if self._buffer:
            parser.receive_data(self._buffer)
        reply: h11.Response | None = None
        chunks: list[bytes] = []
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(bytes(await self.stream.receive_some(65536)))
            elif isinstance(event, h11.InformationalResponse):
                self._buffer = parser.trailing_data[0]
                return Received(event.status_code, {}, b"")
            elif isinstance(event, h11.Response):
                reply = event
            elif isinstance(event, h11.Data):
                chunks.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                assert reply is not None
                self._buffer = parser.trailing_data[0]
                headers = {name.decode(): value.decode() for name, value in reply.headers}
                return Received(reply.status_code, headers, b"".join(chunks))
            else:
                raise AssertionError(f"no reply but {event!r}, behind {chunks!r:.100}")

    async def ask(self, request: bytes) -> Received:
        await self.send(request)
        return await self.receive()

    async def is_closed(self) -> bool:
        """Wait for the server to close the connection; False if it sends something instead."""
        try:
            return not self._buffer and not await self.stream.receive_some(1)
        except trio.BrokenResourceError:
            return True

    async def read_to_end(self) -> bytes:
        """Whatever comes until the server closes or resets the connection."""
        received = self._buffer
        try:
            while data := await self.stream.receive_some(65536):
                received += bytes(data)
        except trio.BrokenResourceError:
            self.was_reset = True
        return received

    def hang_up(self) -> None:
        """FIN."""
        self.sock.shutdown(socket.SHUT_WR)

    async def reset(self) -> None:
        """RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self.stream)


class Wire:
    """A server under test."""

    def __init__(
        self, urls: tuple[str, ...], stop: trio.Event, ended: trio.Event, stack: contextlib.AsyncExitStack
    ) -> None:
        self.urls = urls
        self.stop = stop
        self.ended = ended
        self._stack = stack

    async def connect(self, *, at: int = 0, receive_buffer: int | None = None) -> Peer:
        """``at``: which of the addresses. ``receive_buffer``: bytes the kernel keeps for a peer that does not read."""
        address = urlsplit(self.urls[at])
        sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await sock.connect((address.hostname, address.port))
        except OSError:
            sock.close()
            raise
        stream = await self._stack.enter_async_context(trio.SocketStream(sock))
        return Peer(stream, sock)

    async def connect_tls(self, context: ssl.SSLContext) -> tuple[Peer, trio.SSLStream[trio.SocketStream]]:
        plain = await self.connect()
        assert isinstance(plain.stream, trio.SocketStream)
        stream = trio.SSLStream(plain.stream, context, server_hostname="localhost", https_compatible=True)
        await stream.do_handshake()
        return Peer(stream, plain.sock), stream

    async def connect_unix(self, path: str) -> Peer:
        stream = await self._stack.enter_async_context(await trio.open_unix_socket(path))
        return Peer(stream, stream.socket)


@contextlib.asynccontextmanager
async def serving(app: Any, config: HttpConfig | None = None, **limits_: Any) -> AsyncIterator[Wire]:
    """A server on the loopback interface, with ``limits_`` in place of the ordinary ones."""
    config = config or HttpConfig(hosts=("127.0.0.1",))
    config = replace(config, limits=replace(config.limits, **limits_))
    stop = trio.Event()
    with trio.fail_after(PATIENCE_S):
        async with contextlib.AsyncExitStack() as peers, trio.open_nursery() as nursery:
            ended = trio.Event()

            async def serve(*, task_status: trio.TaskStatus[tuple[str, ...]]) -> None:
                await serve_http(app, config, stop=stop, task_status=task_status)
                ended.set()

            yield Wire(await nursery.start(serve), stop, ended, peers)
            nursery.cancel_scope.cancel()


def limits(**changed: Any) -> HttpLimits:
    return replace(HttpLimits(), **changed)


def app_of(declare: Callable[[Routes], None], **options: Any) -> App:
    routes = Routes("test")
    declare(routes)
    return App([routes], **{"request_bytes_max": REQUEST_BYTES_MAX, **options})


def head(line: str, *headers: str) -> bytes:
    """Request line and headers: ``head("GET /", "Connection: close")``."""
    lines = [f"{line} HTTP/1.1", "Host: one.test", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
