"""Calls an application without sockets, for tests and tools in the same process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson
import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveEvent, ASGISendEvent, ConnectionState, HTTPScope

__all__ = ["AppClient", "ClientReply"]


@dataclass(frozen=True, slots=True)
class ClientReply:
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


class AppClient:
    """One peer of an ASGI application. A request is cancelled as any await is; the application is cancelled with it."""

    def __init__(self, app: ASGIFramework, *, address: str | None = "127.0.0.1") -> None:
        self._app = app
        self._address = address

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> ClientReply:
        """``path`` is percent-encoded and may have a query. Raises ``RuntimeError`` if no whole reply was given."""
        exchange = _Exchange(body)
        await self._app(self._scope(method, path, headers or {}, body), exchange.receive, exchange.send)
        return exchange.reply()

    def _scope(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> HTTPScope:
        raw_path, _, query = path.partition("?")
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        if body and not any(name in (b"content-length", b"transfer-encoding") for name, _ in pairs):
            pairs.append((b"content-length", b"%d" % len(body)))
        return {
            "type": "http",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw_path),
            "raw_path": raw_path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": pairs,
            "client": (self._address, 0) if self._address is not None else None,
            "server": None,
            "state": ConnectionState({}),
            "extensions": {},
        }


class _Exchange:
    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 0
        self._headers: dict[str, str] = {}
        self._sent: list[bytes] = []
        self._is_whole = False

    async def receive(self) -> ASGIReceiveEvent:
        if self._body is None:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: ASGISendEvent) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            self._sent.append(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)

    def reply(self) -> ClientReply:
        if not self._is_whole:
            raise RuntimeError("the application did not answer")
        return ClientReply(self._status, self._headers, b"".join(self._sent))
