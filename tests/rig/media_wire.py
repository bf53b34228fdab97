"""Large files over raw sockets, with next to no memory and little CPU on this side. Blocking."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator

import orjson

from tests.rig.wire import Disconnected

BLOCK = bytes(range(256)) * 4096
"""One MiB."""
REPLY_S_MAX = 300
HEAD_BYTES_MAX = 65_536


def upload_blocks(
    address: tuple[str, int], access_token: str, blocks: int, tick: Callable[[], None] = lambda: None
) -> str:
    """Upload so many times ``BLOCK`` and return the URI. ``tick`` is called before each. Raises ``Disconnected``."""

    def content() -> Iterator[bytes]:
        for _ in range(blocks):
            tick()
            yield BLOCK

    return upload_chunks(address, access_token, content(), blocks * len(BLOCK))


def upload_chunks(address: tuple[str, int], access_token: str, chunks: Iterable[bytes], length: int) -> str:
    """Upload content and return the URI. Raises ``Disconnected``."""
    head = (
        "POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
        f"Authorization: Bearer {access_token}\r\nContent-Length: {length}\r\n\r\n"
    )
    try:
        with socket.create_connection(address, timeout=REPLY_S_MAX) as connection:
            connection.sendall(head.encode())
            for chunk in chunks:
                connection.sendall(chunk)
            status, body_length, body = _read_head(connection)
            while len(body) < body_length:
                body += _receive(connection)
    except OSError as error:
        raise Disconnected(str(error)) from error
    assert status == 200, body
    uri: str = orjson.loads(body)["content_uri"]
    return uri


def download_bytes(
    address: tuple[str, int], access_token: str, uri: str, tick: Callable[[], None] = lambda: None
) -> tuple[int, int]:
    """Download, and forget what comes. Status and length. Raises ``Disconnected``."""
    try:
        with begin_download(address, access_token, uri) as connection:
            status, length, body = _read_head(connection)
            received = len(body)
            buffer = bytearray(1 << 18)
            while received < length:
                tick()
                count = connection.recv_into(buffer)
                if not count:
                    raise Disconnected(f"the body ended at {received} of {length} bytes")
                received += count
    except OSError as error:
        raise Disconnected(str(error)) from error
    return status, received


def begin_download(address: tuple[str, int], access_token: str, uri: str) -> socket.socket:
    connection = socket.create_connection(address, timeout=REPLY_S_MAX)
    path = f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}"
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {access_token}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def _read_head(connection: socket.socket) -> tuple[int, int, bytes]:
    """Status, length of the body, and what has come of it."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
    return int(lines[0].split()[1]), length, body


def _receive(connection: socket.socket) -> bytes:
    received = connection.recv(HEAD_BYTES_MAX)
    if not received:
        raise Disconnected("the connection ended")
    return received


def anonymous_kib(pid: int) -> int:
    """Memory that a process has for itself: without the pages of files it has mapped."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))
