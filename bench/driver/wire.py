"""HTTP/1.1 as far as a benchmark needs it: whole requests as bytes, replies with a length or in chunks."""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
import time
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

import orjson

HEAD_BYTES_MAX: Final = 64 * 1024
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
RECEIVE_BYTES: Final = 64 * 1024
"""Below the size from which the C library maps fresh pages for each piece, which costs more than the copy."""
TIMEOUT_S: Final = 60.0
_SO_TIMESTAMPNS: Final = 35
"""Of Linux: what is received comes with the time at which the system had it."""
_TIMESPEC: Final = struct.Struct("qq")

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)

_NEXT_BATCH = re.compile(rb'"next_batch"\s*:\s*"([^"\\]+)"')


class DriverError(Exception):
    """The server cannot be measured: it is not there, is silent, or answers what no homeserver should."""


class WrongReply(DriverError):
    """A reply without the status or the fields that it has to have."""


class Unrecognized(DriverError):
    """The server does not know the endpoint."""


class Reply(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)

    def object(self) -> dict[str, Any]:
        """The JSON object of a reply that must be 200."""
        if self.status != 200:
            raise wrong_reply(self)
        found = self.json()
        if not isinstance(found, dict):
            raise wrong_reply(self)
        return found


def wrong_reply(reply: Reply) -> DriverError:
    """What to raise for a reply that is not the expected one."""
    if reply.status in {404, 405, 501} and b"M_UNRECOGNIZED" in reply.body:
        return Unrecognized(f"M_UNRECOGNIZED ({reply.status})")
    if reply.status == 429:
        return WrongReply("429: rate limits are on; measuring needs them off")
    return WrongReply(f"{reply.status} {reply.body[:400].decode(errors='replace')}")


class Address(NamedTuple):
    host: str
    port: int

    @classmethod
    def loopback(cls, host: str, port: int) -> Self:
        """Refuses any address that is not this machine's own."""
        address = "127.0.0.1" if host == "localhost" else host
        try:
            is_loopback = ipaddress.ip_address(address).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise DriverError(f"{host} is not a loopback address; only this machine is measured")
        return cls(address, port)


def encode_request(
    method: str,
    target: str,
    *,
    token: str | None = None,
    body: bytes | dict[str, Any] | None = None,
    content_type: str = "application/json",
) -> bytes:
    """One request, headers as a client sends them. ``target`` is percent-encoded already."""
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: bench.localhost",
        "User-Agent: conduit_py-bench/1",
        "Accept: application/json",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    payload = b""
    if body is not None:
        payload = body if isinstance(body, bytes) else orjson.dumps(body)
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(payload)}"]
    return "\r\n".join((*lines, "", "")).encode() + payload


def path_part(text: str) -> str:
    """``text`` as one segment of a path or one value of a query."""
    return quote(text, safe="")


def next_batch_of(body: bytes) -> str | None:
    """The token in the reply of a sync, without parsing the rest."""
    found = _NEXT_BATCH.search(body)
    return None if found is None else found[1].decode()


class ReplyParser:
    """Bytes in, replies out. There is never more than one reply on its way."""

    __slots__ = ("_buffer", "_chunks", "_end", "_start", "_status")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._reset()

    def _reset(self) -> None:
        self._buffer.clear()
        self._status = 0
        """0: the head is not complete."""
        self._start = 0
        """Where the body, or the next chunk, begins."""
        self._end = -1
        """Where the body ends; -1: it comes in chunks."""
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> Reply | None:
        """The reply, once ``data`` completes it."""
        buffer = self._buffer
        buffer += data
        if self._status == 0 and not self._read_head():
            return None
        if self._end < 0:
            return self._read_chunks()
        if len(buffer) < self._end:
            return None
        if len(buffer) > self._end:
            raise DriverError("bytes after the end of a reply")
        reply = Reply(self._status, bytes(memoryview(buffer)[self._start :]))
        self._reset()
        return reply

    def _read_head(self) -> bool:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > HEAD_BYTES_MAX:
                raise DriverError("the head of a reply does not end")
            return False
        if not buffer.startswith(b"HTTP/1.1 ") or not buffer[9:12].isdigit():
            raise DriverError(f"not a reply of HTTP/1.1: {bytes(buffer[:40])!r}")
        status = int(buffer[9:12])
        if status < 200:
            raise DriverError(f"interim reply {status}")
        self._start = end + 4
        length = _LENGTH.search(buffer, 0, end + 2)
        if length is not None:
            self._end = self._start + int(length[1])
        elif status in {204, 304}:
            self._end = self._start
        elif not _CHUNKED.search(buffer, 0, end + 2):
            raise DriverError("a reply with neither a length nor chunks")
        if self._end - self._start > BODY_BYTES_MAX:
            raise DriverError("a body above the limit of the driver")
        del length  # a match keeps the buffer from being resized
        self._status = status
        return True

    def _read_chunks(self) -> Reply | None:
        """Takes what chunks are complete; trailers are not understood."""
        buffer, start = self._buffer, self._start
        while (line_end := buffer.find(b"\r\n", start)) >= 0:
            size = int(buffer[start:line_end].split(b";", 1)[0], 16)
            chunk_end = line_end + 2 + size
            if len(buffer) < chunk_end + 2:
                break
            if buffer[chunk_end : chunk_end + 2] != b"\r\n":
                raise DriverError("a chunk that does not end where it said")
            if size == 0:
                if len(buffer) > chunk_end + 2:
                    raise DriverError("bytes after the last chunk")
                reply = Reply(self._status, b"".join(self._chunks))
                self._reset()
                return reply
            self._chunks.append(bytes(buffer[line_end + 2 : chunk_end]))
            start = chunk_end + 2
            if start > BODY_BYTES_MAX:
                raise DriverError("a body above the limit of the driver")
        self._start = start
        return None


class Connection:
    """One keep-alive connection. Blocks at most ``TIMEOUT_S`` for each piece of a reply."""

    __slots__ = ("parser", "socket")

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address, timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.parser = ReplyParser()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def receive(self) -> Reply | None:
        """The reply, if one piece from the socket completes it."""
        return self._feed(self.socket.recv(RECEIVE_BYTES))

    def _feed(self, data: bytes) -> Reply | None:
        if not data:
            raise DriverError("the server closed the connection")
        return self.parser.feed(data)

    def stamp_arrivals(self) -> None:
        """For ``receive_stamped``."""
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def receive_stamped(self) -> tuple[Reply | None, int]:
        """``receive``, and when the piece arrived, in nanoseconds of the system's clock: however long the driver was
        busy with other replies."""
        data, stamps, _, _ = self.socket.recvmsg(RECEIVE_BYTES, socket.CMSG_SPACE(_TIMESPEC.size))
        arrived_ns = time.time_ns()
        for _, kind, value in stamps:
            if kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(value)
                arrived_ns = seconds * 10**9 + nanoseconds
        return self._feed(data), arrived_ns

    def exchange(self, request: bytes) -> Reply:
        self.socket.sendall(request)
        while (reply := self.receive()) is None:
            pass
        return reply

    def call(
        self, method: str, target: str, body: dict[str, Any] | None = None, *, token: str | None = None
    ) -> dict[str, Any]:
        """One request whose reply must be 200 and a JSON object."""
        return self.exchange(encode_request(method, target, token=token, body=body)).object()
