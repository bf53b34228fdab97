"""One HTTP client for all that the server asks of others: bounded in number, in time and in size."""

from __future__ import annotations

import contextlib
import math
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import trio

from conduit_py.config import IpNetwork, Proxy
from conduit_py.outbound.addresses import Dns
from conduit_py.outbound.errors import Unreachable

if TYPE_CHECKING:
    import httpcore2

READ_STALL_S: Final = 30.0
"""Silence within an answer, and before it unless the request has longer."""
HTTPS_PORT: Final = 443
REDIRECTIONS: Final = frozenset({301, 302, 303, 307, 308})
CLOSE_TIMEOUT_S: Final = 2.0
STREAM_GRACE_S: Final = 60.0
STREAM_BYTES_PER_S_MIN: Final = 16 * 1024
"""How fast an answer that is read while it comes must be, on the whole, after ``STREAM_GRACE_S``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom a request goes to and by which way."""

    host: str
    """Name or address that the certificate must be for, in lower case and without brackets."""
    port: int
    route_host: str
    """Name or address that is connected to: the same, or the target of an SRV record."""
    host_header: str
    scheme: str = "https"
    is_exempt: bool = False
    """The operator named the host in the configuration, so addresses in ``ip_range_denylist`` are fine."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    status: int
    headers: Mapping[str, str]
    """Names in lower case; of a header that came twice, the last."""
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpStream:
    """An answer whose body is still to come, within the block that opened it."""

    status: int
    headers: Mapping[str, str]
    """As those of `HttpReply`."""
    chunks: AsyncGenerator[bytes, None]
    """The body, to be read once. Raises `Unreachable` where it breaks off."""

    async def read(self, bytes_max: int) -> HttpReply:
        """All of it. Raises `Unreachable` for more than ``bytes_max`` bytes."""
        body = bytearray()
        async for chunk in self.chunks:
            body += chunk
            if len(body) > bytes_max:
                raise Unreachable(f"the answer is larger than {bytes_max} bytes")
        return HttpReply(self.status, self.headers, bytes(body))


class HttpClient:
    """One per server. ``run`` is owned by the nursery tree.

    Connections are kept and used again for the same host and port, for whose name their certificate was verified.

    :param requests_max: requests at the same time; more wait their turn.
    :param ca_certificates: PEM file of authorities to trust beside the system's.
    :param tcp: what connects to an address; httpcore2's own unless given.
    """

    def __init__(
        self,
        *,
        dns: Dns,
        denylist: tuple[IpNetwork, ...],
        proxy: Proxy,
        ca_certificates: Path | None,
        requests_max: int,
        tcp: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._tcp = tcp
        self._dns = dns
        self._denylist = denylist
        self._proxy = proxy
        self._ca_certificates = ca_certificates
        self._places = trio.Semaphore(requests_max)
        self._pools: dict[bool, httpcore2.AsyncConnectionPool] = {}
        """By whether they hold connections to what the operator named, wherever that is: those are not for others."""
        # Read now where the operator named a file, so that a mistake in it is told at start.
        self._tls = None if ca_certificates is None else _build_tls_context(ca_certificates)

    def looks_up_elsewhere(self, host: str) -> bool:
        """Whether names of requests to ``host`` are for a proxy to look up, and not to be asked about here."""
        url = self._proxy.get_url(host)
        return url is not None and url.startswith("socks5h:")

    async def fetch(
        self,
        method: str,
        target: Target,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        bytes_max: int,
        timeout_s: float,
    ) -> HttpReply:
        """The answer, whatever its status. ``path`` is percent-encoded and may have a query.

        Raises `Unreachable` where none came within ``timeout_s``, or one of more than ``bytes_max`` bytes.
        """
        async with self._places:
            try:
                with trio.fail_after(timeout_s):
                    async with self._open(method, target, path, headers, body, stall_s=timeout_s) as answer:
                        return await answer.read(bytes_max)
            except trio.TooSlowError:
                raise Unreachable(f"{target.host} gave no answer within {timeout_s:g} s") from None

    @asynccontextmanager
    async def stream(
        self,
        target: Target,
        path: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        method: str = "GET",
        body: bytes | None = None,
    ) -> AsyncIterator[HttpStream]:
        """The answer, as soon as it begins.

        Raises `Unreachable` where it does not within ``timeout_s``, and in the block where it goes on too slowly.
        """
        async with self._places:
            with trio.CancelScope() as scope:
                scope.deadline = trio.current_time() + timeout_s
                async with self._open(method, target, path, headers, body, stall_s=timeout_s) as answer:
                    scope.deadline = math.inf
                    async with contextlib.aclosing(_hurry(answer.chunks, scope)) as chunks:
                        yield HttpStream(answer.status, answer.headers, chunks)
            if scope.cancelled_caught:
                raise Unreachable(f"{target.host} gave no answer, or too little of it, in time")

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        target: Target,
        path: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        *,
        stall_s: float,
    ) -> AsyncIterator[HttpStream]:
        import httpcore2

        from conduit_py.outbound.network import ROUTE, TLS_TIMEOUT_S, Route

        url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=path)
        timeouts = {"connect": TLS_TIMEOUT_S, "read": max(READ_STALL_S, stall_s), "write": READ_STALL_S}
        # Without it, an answer may come in any encoding there is.
        fixed = {"Host": target.host_header, "User-Agent": "conduit_py", "Accept-Encoding": "identity"}
        all_headers = {**fixed, **(headers or {})}
        request = self._get_pool(is_exempt=target.is_exempt).stream(
            method, url, headers=list(all_headers.items()), content=body, extensions={"timeout": timeouts}
        )
        async with contextlib.AsyncExitStack() as stack:
            token = ROUTE.set(Route(target.route_host, target.is_exempt))
            try:
                with _as_unreachable(target):
                    response = await stack.enter_async_context(request)
            finally:
                ROUTE.reset(token)
            names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            async with contextlib.aclosing(_read(response, target)) as chunks:
                yield HttpStream(response.status, names, chunks)

    def _get_pool(self, *, is_exempt: bool) -> httpcore2.AsyncConnectionPool:
        pool = self._pools.get(is_exempt)
        if pool is None:
            from conduit_py.outbound.network import Network, make_pool

            self._tls = self._tls or _build_tls_context(self._ca_certificates)
            network = Network(dns=self._dns, denylist=self._denylist, proxy=self._proxy, tls=self._tls, tcp=self._tcp)
            pool = self._pools[is_exempt] = make_pool(network, self._tls)
        return pool

    async def run(self) -> None:
        """Close the connections when the server stops."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_TIMEOUT_S):
                await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.aclose()


def _build_tls_context(ca_certificates: Path | None) -> ssl.SSLContext:
    from conduit_py.outbound.network import build_tls_context

    return build_tls_context(ca_certificates)


async def _read(response: httpcore2.Response, target: Target) -> AsyncGenerator[bytes, None]:
    with _as_unreachable(target):
        async with contextlib.aclosing(response.aiter_stream()) as chunks:
            async for chunk in chunks:
                yield chunk


async def _hurry(chunks: AsyncGenerator[bytes, None], scope: trio.CancelScope) -> AsyncGenerator[bytes, None]:
    """Cancels the scope where a body comes too slowly; not while its reader is busy elsewhere."""
    left_s = STREAM_GRACE_S
    async with contextlib.aclosing(chunks):
        while True:
            asked = trio.current_time()
            scope.deadline = asked + left_s
            chunk = await anext(chunks, None)
            scope.deadline = math.inf
            if chunk is None:
                return
            left_s += asked - trio.current_time() + len(chunk) / STREAM_BYTES_PER_S_MIN
            yield chunk


@contextmanager
def _as_unreachable(target: Target) -> Iterator[None]:
    """Whatever goes wrong on the way."""
    import httpcore2

    try:
        yield
    except (
        httpcore2.NetworkError,
        httpcore2.TimeoutException,
        httpcore2.ProtocolError,
        httpcore2.ProxyError,
        httpcore2.UnsupportedProtocol,
        OSError,
    ) as error:
        raise Unreachable(f"{target.host} cannot be asked: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What was wrong first: the layers above only say that something was."""
    cause: BaseException | None = error
    while cause is not None:
        error = cause
        # httpcore2 drops the cause and keeps it as the only argument.
        wrapped = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
        cause = error.__cause__ or wrapped
    return str(error) or type(error).__name__


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """``Retry-After`` in ms, if it is given in seconds."""
    value = headers.get("retry-after", "")
    seconds = float(value) if value.isascii() and value.isdigit() and len(value) < 10 else math.nan
    return None if math.isnan(seconds) else int(seconds * 1000)


def https_target(url: str) -> tuple[Target, str]:
    """Whom an ``https://`` address names, and the path with its query. Raises ``ValueError``."""
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme != "https" or not host or parts.port == 0 or not url.isascii():
        raise ValueError("it is no https:// address")
    host_header = parts.netloc.rpartition("@")[2]
    target = Target(host=host, port=parts.port or HTTPS_PORT, route_host=host, host_header=host_header)
    return target, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def redirection(url: str, status: int, headers: Mapping[str, str]) -> str | None:
    """The ``https://`` address that an answer from ``url`` sends on to; None where to none. Raises ``ValueError``."""
    location = headers.get("location")
    if status not in REDIRECTIONS or location is None:
        return None
    next_url = urlsplit(urljoin(url, location))._replace(fragment="").geturl()
    https_target(next_url)
    return next_url
