"""What a handler is told about its request, and how it reads the body.

The names are those of Quart's request. It is made anew, and not derived from that class, because building Quart's takes
as long as all of a small request here.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

import orjson
from hypercorn.typing import ASGIReceiveEvent, HTTPScope

from conduit_py.http.errors import BadJson, ClientDisconnected, NotJson, TooLarge
from conduit_py.http.held import SMALL_BYTES_MAX, Hold, Shelf
from conduit_py.http.proxies import Network
from conduit_py.matrix import canonical_json
from conduit_py.matrix.json_slices import IN_PLACE_BYTES_MAX, TooMuch, parse_in_slices
from conduit_py.observe.requests import BODY, timed
from conduit_py.slices import run_slices

__all__ = ["JSON_DEPTH_MAX", "Body", "Network", "Request", "RequestHeaders", "parse_json_object", "scrub_query"]

JSON_DEPTH_MAX: Final = 200
"""Nesting of a JSON body. What comes in is stored inside of events and replies, and orjson prints 254 levels."""
PARSED_FACTOR: Final = 7
"""How much more memory a large JSON body takes when it is parsed."""
JSON_BYTES_MAX: Final = 1024 * 1024
"""Of a JSON body, for operations that do not need more."""

Receive = Callable[[], Awaitable[ASGIReceiveEvent]]

REQUEST_ID: Final = re.compile(r"[\w.:+/=-]{1,64}", re.ASCII)
"""What a proxy may call a request."""
_RUN: Final = secrets.token_hex(3)
_numbers = itertools.count(1)


class Arguments(dict[str, str]):
    """Query parameters by name, the first value of each.

    Not werkzeug's ``MultiDict``, which raises and catches an exception for every parameter that is left out.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = tuple(pairs)
        for name, value in self._pairs:
            self.setdefault(name, value)

    def getlist(self, name: str) -> list[str]:
        """All values of one parameter."""
        return [value for key, value in self._pairs if key == name]


class RequestHeaders(Mapping[str, str]):
    """Headers by name, in any case."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Collection[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs

    def __getitem__(self, name: str) -> str:
        wanted = name.lower().encode("latin-1", "replace")
        for key, value in self._pairs:
            if key == wanted:
                return value.decode("latin-1")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.decode("latin-1") for key, _ in self._pairs))

    def __len__(self) -> int:
        return len({key for key, _ in self._pairs})

    def getlist(self, name: str) -> list[str]:
        """Every value of a header that came more than once, in order."""
        wanted = name.lower().encode("latin-1", "replace")
        return [value.decode("latin-1") for key, value in self._pairs if key == wanted]


class Body:
    """The request body as it arrives. Reading it is what makes more of it come.

    ``async for chunk in body`` gives non-empty parts. Raises ``TooLarge`` at the first byte beyond ``bytes_max``.
    """

    __slots__ = ("_is_whole", "_receive", "_seen", "bytes_max")

    def __init__(self, receive: Receive, bytes_max: int) -> None:
        self._receive = receive
        self._seen = 0
        self._is_whole = False
        self.bytes_max = bytes_max

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        while not self._is_whole:
            with timed(BODY):
                message = await self._receive()
            if message["type"] != "http.request":
                raise ClientDisconnected
            self._is_whole = not message.get("more_body", False)
            chunk = message.get("body", b"")
            if chunk:
                self._seen += len(chunk)
                self.check(self._seen)
                return chunk
        raise StopAsyncIteration

    def check(self, length: int) -> None:
        if length > self.bytes_max:
            raise TooLarge(f"The request body is larger than {self.bytes_max} bytes")


class Request:
    """One request. Reading the body is the only thing about it that waits."""

    __slots__ = ("_args", "_data", "_hold", "_id", "_scope", "_shelf", "_trusted_proxies", "body", "headers", "method")

    def __init__(
        self,
        scope: HTTPScope,
        receive: Receive,
        *,
        bytes_max: int,
        shelf: Shelf,
        trusted_proxies: Collection[Network] = (),
    ) -> None:
        self._scope = scope
        self._args: Arguments | None = None
        self._data: bytes | None = None
        self._shelf = shelf
        self._hold: Hold | None = None
        self._id = ""
        self._trusted_proxies = trusted_proxies
        self.method = scope["method"]
        self.headers = RequestHeaders(scope["headers"])  # type: ignore[arg-type]  # always a list here
        self.body = Body(receive, bytes_max)

    @property
    def id(self) -> str:
        """Names the request in the log: as a trusted proxy calls it, or unlike any other of this server."""
        if not self._id:
            self._id = self._given_id() or f"{_RUN}-{next(_numbers):x}"
        return self._id

    def _given_id(self) -> str | None:
        given = next((value for name, value in self._scope["headers"] if name == b"x-request-id"), None)
        if given is None:
            return None
        address, text = self.remote_addr, given.decode("latin-1")
        is_believed = address is None or _is_within(address, self._trusted_proxies)
        return text if is_believed and REQUEST_ID.fullmatch(text) else None

    @property
    def path(self) -> str:
        """The path, percent-decoded; parts of it are better taken from the handler's arguments."""
        return self._scope["path"]

    @property
    def raw_path(self) -> bytes:
        """The path as it came, without the query."""
        return self._scope["raw_path"]

    @property
    def query_string(self) -> bytes:
        return self._scope["query_string"]

    @property
    def raw_uri(self) -> str:
        """Path and query as they came: what an X-Matrix signature covers."""
        query = self._scope["query_string"].decode("latin-1")
        return self._scope["raw_path"].decode("latin-1") + ("?" + query if query else "")

    @property
    def safe_uri(self) -> str:
        """Path and query as they may be logged, without access tokens."""
        query = scrub_query(self._scope["query_string"].decode("latin-1"))
        return self._scope["raw_path"].decode("latin-1") + ("?" + query if query else "")

    @property
    def scheme(self) -> str:
        return self._scope["scheme"]

    @property
    def http_version(self) -> str:
        return self._scope["http_version"]

    @property
    def args(self) -> Arguments:
        """The query parameters; a name may have several values (``getlist``)."""
        if self._args is None:
            query = self._scope["query_string"].decode("latin-1")
            self._args = Arguments(parse_qsl(query, keep_blank_values=True) if query else ())
        return self._args

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def content_length(self) -> int | None:
        """Length of the body in bytes if the client told it."""
        value = self.headers.get("content-length")
        return int(value) if value is not None else None

    @property
    def remote_addr(self) -> str | None:
        """Address at the other end of the connection, maybe a proxy's; ``None`` on a unix socket."""
        client = self._scope["client"]
        return client[0] if client is not None else None

    def client_address(self, trusted_proxies: Collection[Network]) -> str:
        """Address of the client itself, as far as proxies that we trust tell; empty if nobody tells.

        A peer on a unix socket is trusted. ``X-Forwarded-For`` is read from its end, each proxy having added who asked
        it, up to the first address that is not a trusted proxy's.
        """
        address = self.remote_addr or ""
        forwarded = [part.strip() for line in self.headers.getlist("x-forwarded-for") for part in line.split(",")]
        while forwarded and (not address or _is_within(address, trusted_proxies)):
            nearest = forwarded.pop()
            try:
                address = _plain_address(nearest)
            except ValueError:
                break
        return address

    async def get_data(self, *, bytes_max: int | None = None) -> bytes:
        """The whole body. Raises ``TooLarge`` beyond ``bytes_max``, or beyond the server's limit when that is less.

        Raises ``Busy`` while too much is held of other requests.
        """
        if self._data is None:
            body = self.body
            if bytes_max is not None:
                body.bytes_max = min(bytes_max, body.bytes_max)
            length = self.content_length
            if length is not None:
                body.check(length)
            self._data = await self._gather(body)
        return self._data

    async def _gather(self, body: Body) -> bytes:
        data: bytes | bytearray = b""
        async for chunk in body:
            if not data:
                data = chunk
            elif isinstance(data, bytearray):
                data += chunk
            else:
                data = bytearray(data) + chunk
            self._count(len(data))
        return bytes(data)

    def _count(self, size: int) -> None:
        """What is held of the request. Raises ``Busy``."""
        if size <= SMALL_BYTES_MAX:
            return
        if self._hold is None:
            self._hold = Hold(self._shelf, self.client_address(self._trusted_proxies))
        self._hold.grow(size)

    def release(self) -> None:
        """The request is answered, and nothing of it is held any more."""
        if self._hold is not None:
            self._hold.release()

    async def json_object(self, *, may_be_empty: bool = False, bytes_max: int = JSON_BYTES_MAX) -> dict[str, Any]:
        """The body as a JSON object; an absent body is ``{}`` where ``may_be_empty``.

        Raises ``NotJson``, ``BadJson`` (JSON, but no object, or nested too deeply), ``TooLarge``.
        """
        data = await self.get_data(bytes_max=bytes_max)
        if may_be_empty and not data:
            return {}
        if len(data) <= IN_PLACE_BYTES_MAX:
            return parse_json_object(data)
        self._count(PARSED_FACTOR * len(data))
        return await _parse_large_object(data)


def parse_json_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object of bounded depth."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"The body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadJson("The body is not a JSON object")
    if data.count(b"{") + data.count(b"[") > JSON_DEPTH_MAX and canonical_json.is_deeper(value, JSON_DEPTH_MAX):
        raise BadJson(f"The body is nested more than {JSON_DEPTH_MAX} levels deep")
    return value


async def _parse_large_object(data: bytes) -> dict[str, Any]:
    try:
        value = await run_slices(parse_in_slices(data, load=_load))
    except TooMuch as error:
        raise TooLarge(f"The body is more than can be read: {error}") from None
    except canonical_json.NotJson as error:
        raise NotJson(f"The body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadJson("The body is not a JSON object")
    return value


def _load(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise canonical_json.NotJson(str(error)) from None


def _plain_address(text: str) -> str:
    parsed = ipaddress.ip_address(text.strip("[]"))
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _is_within(address: str, networks: Collection[Network]) -> bool:
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in networks)


def scrub_query(query: str) -> str:
    """A query string fit for the log: the values of ``access_token`` and ``token`` are left out."""
    if not query:
        return query
    return "&".join(map(_scrub_parameter, query.split("&")))


def _scrub_parameter(parameter: str) -> str:
    name, _, _ = parameter.partition("=")
    return f"{name}=…" if unquote_plus(name) in ("access_token", "token") else parameter
