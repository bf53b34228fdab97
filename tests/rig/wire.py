"""A client over a real socket with nothing in between: blocking, one connection, and it notices when that breaks."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import quote, urlencode

import orjson

CLIENT = "/_matrix/client/v3"
REPLY_S_MAX = 60


class Disconnected(Exception):
    """No whole reply came. Nobody knows whether the request was carried out."""


class WireClient:
    """Opens its connection at the first request. A client that was disconnected may be used again."""

    def __init__(self, address: tuple[str, int], access_token: str | None = None) -> None:
        self.address = address
        self.access_token = access_token
        self._socket: socket.socket | None = None
        self._received = b""

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._received = None, b""

    def get(self, *parts: str, **query: str) -> Any:
        return self.require("GET", path(*parts) + ("?" + urlencode(query) if query else ""))

    def put(self, *parts: str, json: Any) -> Any:
        return self.require("PUT", path(*parts), json)

    def post(self, *parts: str, json: Any) -> Any:
        return self.require("POST", path(*parts), json)

    def require(self, method: str, target: str, json: Any = None) -> Any:
        """The reply's JSON; its status must be 200."""
        status, body = self.request(method, target, json)
        assert status == 200, (method, target, status, body)
        return orjson.loads(body)

    def ask(self, method: str, *parts: str, json: Any = None, **query: str) -> tuple[int, Any]:
        """Status and the reply's JSON."""
        status, body = self.request(method, path(*parts) + ("?" + urlencode(query) if query else ""), json)
        return status, orjson.loads(body)

    def request(self, method: str, target: str, json: Any = None) -> tuple[int, bytes]:
        """Raises ``Disconnected``."""
        self.send(method, target, json)
        return self.receive()

    def send(self, method: str, target: str, json: Any = None) -> None:
        """The first half of a request. Raises ``Disconnected``."""
        self._send(method, CLIENT + target, b"" if json is None else orjson.dumps(json), "application/json")

    def exchange(
        self, method: str, target: str, body: bytes = b"", content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """A request to any path, with any body. Raises ``Disconnected``."""
        self._send(method, target, body, content_type)
        return self.receive()

    def _send(self, method: str, target: str, body: bytes, content_type: str) -> None:
        head = [f"{method} {target} HTTP/1.1", "Host: one.test", f"Content-Length: {len(body)}"]
        if body:
            head.append(f"Content-Type: {content_type}")
        if self.access_token is not None:
            head.append(f"Authorization: Bearer {self.access_token}")
        self.send_raw("\r\n".join([*head, "\r\n"]).encode() + body)

    def send_raw(self, data: bytes) -> None:
        """A request as it stands on the wire. Raises ``Disconnected``."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self.address, timeout=REPLY_S_MAX)
            self._socket.sendall(data)
        except OSError as error:
            raise self._broken(error) from error

    def receive(self) -> tuple[int, bytes]:
        """The second half. Raises ``Disconnected``."""
        head = self._take_until(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), None)
        body = self._take_chunks() if length is None else self._take(length)
        if "connection: close" in lines:
            self.close()
        return int(lines[0].split()[1]), body

    def _take_chunks(self) -> bytes:
        """A body of the chunked coding, which other servers use. See RFC 9112, section 7.1"""
        chunks = []
        while size := int(self._take_until(b"\r\n"), 16):
            chunks.append(self._take(size))
            self._take_until(b"\r\n")
        self._take_until(b"\r\n")
        return b"".join(chunks)

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._receive_more()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def _take_until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._receive_more()
        taken, _, self._received = self._received.partition(end)
        return taken

    def _receive_more(self) -> None:
        assert self._socket is not None
        try:
            received = self._socket.recv(1 << 16)
        except TimeoutError:
            raise AssertionError("the server does not answer") from None
        except OSError as error:
            raise self._broken(error) from error
        if not received:
            raise self._broken(None)
        self._received += received

    def _broken(self, error: OSError | None) -> Disconnected:
        self.close()
        return Disconnected(str(error or "the connection ended"))


def path(*parts: str) -> str:
    """A path of percent-encoded parts."""
    return "".join("/" + quote(part, safe="") for part in parts)


def register(address: tuple[str, int], name: str) -> Any:
    """A new account: user_id, device_id, access_token."""
    with WireClient(address) as client:
        return client.post("register", json={"username": name, "password": "x" * 12, "auth": {"type": "m.login.dummy"}})
