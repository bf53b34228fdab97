"""Connections for httpcore2: looked up, checked, through a proxy or not. Imported when the first request is sent.

The pool knows a connection by the URL's host and port, and has its certificate verified for that host. So the URL's
host is always the name that the certificate must be for, and where to connect instead (the target of an SRV record) is
told to this backend beside it: in a context variable, because httpcore2 connects in the task that sends the request.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import httpcore2
import trio

from conduit_py.config import IpAddress, IpNetwork, Proxy
from conduit_py.outbound.addresses import ADDRESSES_MAX, Dns, is_denied, parse_ip_literal
from conduit_py.outbound.errors import Unreachable

CONNECT_TIMEOUT_S: Final = 10.0
"""To one address, of which a name may have several."""
TLS_TIMEOUT_S: Final = 15.0
KEEPALIVE_S: Final = 60.0
KEEPALIVE_CONNECTIONS_MAX: Final = 100
PROXY_HEAD_BYTES_MAX: Final = 8192

_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True)
class Route:
    """Where the connection of a request leads: ``host`` is a name or an address."""

    host: str
    is_exempt: bool = False
    """The operator named it in the configuration: the list of denied addresses is not for it."""


ROUTE: ContextVar[Route] = ContextVar("route")


def build_tls_context(ca_certificates: Path | None) -> ssl.SSLContext:
    """The system's authorities, with those of ``ca_certificates`` and of ``SSL_CERT_FILE``.

    Raises `OSError` for a file that cannot be read or has no certificate in it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    paths = ssl.get_default_verify_paths()
    # Not set_default_verify_paths: there, SSL_CERT_FILE takes the place of the system's file.
    system = [path if os.path.exists(path) else None for path in (paths.openssl_cafile, paths.openssl_capath)]
    if any(system):
        context.load_verify_locations(*system)
    for extra in (ca_certificates, os.environ.get("SSL_CERT_FILE")):
        if extra:
            try:
                context.load_verify_locations(extra)
            except OSError as error:
                raise OSError(f"the certificate authorities in {extra} cannot be read: {error}") from error
    return context


def make_pool(backend: httpcore2.AsyncNetworkBackend, tls: ssl.SSLContext) -> httpcore2.AsyncConnectionPool:
    # The number of connections is bounded by that of the requests, which HttpClient limits.
    return httpcore2.AsyncConnectionPool(
        ssl_context=tls,
        max_connections=None,
        max_keepalive_connections=KEEPALIVE_CONNECTIONS_MAX,
        keepalive_expiry=KEEPALIVE_S,
        http1=True,
        http2=False,
        network_backend=backend,
    )


class Network(httpcore2.AsyncNetworkBackend):
    """What httpcore2 asks for connections."""

    def __init__(
        self,
        *,
        dns: Dns,
        denylist: tuple[IpNetwork, ...],
        proxy: Proxy,
        tls: ssl.SSLContext,
        tcp: httpcore2.AsyncNetworkBackend | None,
    ) -> None:
        self._dns = dns
        self._denylist = denylist
        self._proxy = proxy
        self._tls = tls
        self._tcp = tcp or httpcore2.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the name is httpcore2's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """``host`` is what the certificate must be for; the connection goes where `ROUTE` says."""
        route = ROUTE.get()
        proxy_url = self._proxy.get_url(host)
        if proxy_url is None:
            return await self._connect_any(await self._fetch_allowed(route), port)
        return await self._connect_through(urlsplit(proxy_url), route, port)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def _fetch_allowed(self, route: Route) -> tuple[IpAddress, ...]:
        """The addresses of the host that may be connected to. Raises `Unreachable` when there are none."""
        literal = parse_ip_literal(route.host)
        found = (literal,) if literal is not None else await self._dns.fetch_addresses(route.host)
        if route.is_exempt:
            return found
        allowed = tuple(address for address in found if not is_denied(address, self._denylist))
        if found and not allowed:
            raise Unreachable(f"{route.host} is at an address in ip_range_denylist")
        return allowed

    async def _connect_any(self, addresses: tuple[IpAddress, ...], port: int) -> httpcore2.AsyncNetworkStream:
        failure: Exception = Unreachable("the name has no address")
        for address in addresses[:ADDRESSES_MAX]:
            try:
                return _Stream(await self._tcp.connect_tcp(str(address), port, timeout=CONNECT_TIMEOUT_S))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _connect_through(self, proxy: SplitResult, route: Route, port: int) -> httpcore2.AsyncNetworkStream:
        """A tunnel. The proxy looks names up itself, unless it is ``socks5``: then it is given an address."""
        assert proxy.hostname is not None
        target = route.host.removeprefix("[").removesuffix("]")
        if proxy.scheme == "socks5" or parse_ip_literal(target) is not None:
            allowed = await self._fetch_allowed(route)
            if not allowed:
                raise Unreachable("the name has no address")
            target = str(allowed[0])
        entry = Route(proxy.hostname, is_exempt=True)
        proxy_port = proxy.port or _PORTS[proxy.scheme]
        stream = await self._connect_any(await self._fetch_allowed(entry), proxy_port)
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                if proxy.scheme == "https":
                    stream = await stream.start_tls(self._tls, proxy.hostname, TLS_TIMEOUT_S)
                if proxy.scheme.startswith("socks5"):
                    await _open_socks_tunnel(stream, proxy, target, port)
                else:
                    await _open_http_tunnel(stream, proxy, target, port)
        except BaseException as error:
            await _close_now(stream)
            if isinstance(error, trio.TooSlowError):
                raise Unreachable("the proxy does not answer") from error
            raise
        return stream


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection. httpcore2's own stays open when a handshake is cancelled."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self.read = stream.read  # type: ignore[method-assign]
        self.write = stream.write  # type: ignore[method-assign]
        self.aclose = stream.aclose  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the name is httpcore2's
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:
            await _close_now(self._stream)
            raise


async def _close_now(stream: httpcore2.AsyncNetworkStream) -> None:
    """Without a farewell, and whether or not the task is cancelled."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.aclose()


# --- proxies ---


def _credentials(proxy: SplitResult) -> tuple[bytes, bytes] | None:
    if proxy.username is None:
        return None
    return unquote(proxy.username).encode(), unquote(proxy.password or "").encode()


async def _open_http_tunnel(stream: httpcore2.AsyncNetworkStream, proxy: SplitResult, target: str, port: int) -> None:
    """See RFC 9110, section 9.3.6"""
    authority = f"[{target}]:{port}" if ":" in target else f"{target}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    credentials = _credentials(proxy)
    if credentials is not None:
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(b":".join(credentials)).decode())
    await stream.write("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await _read_exactly(stream, 1)
        if len(head) > PROXY_HEAD_BYTES_MAX:
            raise Unreachable("the proxy does not speak HTTP")
    status = head.split(b" ", 2)[1:2]
    if not head.startswith(b"HTTP/1.") or not status or not status[0].startswith(b"2"):
        raise Unreachable(f"the proxy refused: {head.splitlines()[0].decode('latin-1')}")


_SOCKS_FAILURES: Final = {
    1: "general failure", 2: "not allowed", 3: "network unreachable", 4: "host unreachable", 5: "connection refused",
    6: "TTL expired", 7: "command not supported", 8: "address type not supported",
}  # fmt: skip
_SOCKS_NO_PASSWORD, _SOCKS_PASSWORD = 0, 2
_SOCKS_IPV4, _SOCKS_NAME, _SOCKS_IPV6 = 1, 3, 4


async def _open_socks_tunnel(stream: httpcore2.AsyncNetworkStream, proxy: SplitResult, target: str, port: int) -> None:
    """See RFC 1928, and RFC 1929 for name and password"""
    credentials = _credentials(proxy)
    method = _SOCKS_NO_PASSWORD if credentials is None else _SOCKS_PASSWORD
    await stream.write(bytes([5, 1, method]))
    if await _read_exactly(stream, 2) != bytes([5, method]):
        raise Unreachable("the proxy does not speak SOCKS 5, or not with this way of logging in")
    if credentials is not None:
        await stream.write(b"\x01" + b"".join(bytes([len(part)]) + part for part in credentials))
        if (await _read_exactly(stream, 2))[1] != 0:
            raise Unreachable("the proxy does not know this name and password")
    await stream.write(bytes([5, 1, 0]) + _socks_address(target) + port.to_bytes(2, "big"))
    _, status, _, kind = await _read_exactly(stream, 4)
    if status != 0:
        raise Unreachable(f"the proxy refused: {_SOCKS_FAILURES.get(status, status)}")
    length = {_SOCKS_IPV4: 4, _SOCKS_IPV6: 16}.get(kind)
    if length is None:
        length = (await _read_exactly(stream, 1))[0]
    await _read_exactly(stream, length + 2)


def _socks_address(target: str) -> bytes:
    if parse_ip_literal(target) is None:
        name = target.encode("ascii")
        return bytes([_SOCKS_NAME, len(name)]) + name
    address = ip_address(target)
    kind = _SOCKS_IPV4 if isinstance(address, IPv4Address) else _SOCKS_IPV6
    return bytes([kind]) + address.packed


async def _read_exactly(stream: httpcore2.AsyncNetworkStream, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = await stream.read(length - len(data))
        if not more:
            raise Unreachable("the proxy hung up")
        data += more
    return data
