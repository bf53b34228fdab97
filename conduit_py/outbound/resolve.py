"""From a server name to where the server is reached, and under which name it has to prove itself.

The steps are those of the specification, in its order. What a host's ``.well-known`` says is kept for as long as it
allows, across restarts; SRV records are kept in memory for their time to live; addresses are looked up whenever a
connection is made.

Spec: server-server-api/#resolving-server-names
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

import trio

from conduit_py.log import get_logger
from conduit_py.matrix.canonical_json import parse_json
from conduit_py.matrix.ids import Malformed, ServerName, parse_server_name
from conduit_py.outbound.addresses import Dns, SrvAnswer, choose_srv, parse_ip_literal
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.http import HttpClient, HttpReply, Target, https_target, redirection
from conduit_py.storage.locks import KeyedLocks

_log = get_logger(__name__)

DEFAULT_PORT: Final = 8448
WELL_KNOWN_PATH: Final = "/.well-known/matrix/server"
WELL_KNOWN_TIMEOUT_S: Final = 10.0
WELL_KNOWN_BYTES_MAX: Final = 50 * 1024
REDIRECTS_MAX: Final = 10

HOUR_MS: Final = 3_600_000
CACHED_DEFAULT_MS: Final = 24 * HOUR_MS
CACHED_MAX_MS: Final = 48 * HOUR_MS
CACHED_MIN_MS: Final = 5 * 60_000
"""Even of an answer that is not to be cached: otherwise every request to the server would be two."""
FAILED_MIN_MS: Final = 60_000
"""After the first failure; doubled with each that follows at once, up to ``FAILED_MAX_MS``."""
FAILED_MAX_MS: Final = HOUR_MS

SRV_CACHED_MAX: Final = 2_000
SRV_CACHED_S_MIN: Final = 60.0
SRV_CACHED_S_MAX: Final = 3600.0


@dataclass(frozen=True, slots=True)
class KnownDelegation:
    """What is remembered of a host's ``.well-known``; see ``kvschema.catalog.federation.Delegation``."""

    delegated: str
    expires_ms: int
    failures: int = 0
    usable_until_ms: int = 0


class DelegationStore(Protocol):
    """Where answers are remembered."""

    def get(self, host: str) -> KnownDelegation | None: ...

    async def put(self, host: str, known: KnownDelegation) -> None: ...


class MemoryDelegations:
    """Remembers until the end of the process."""

    def __init__(self) -> None:
        self._known: dict[str, KnownDelegation] = {}

    def get(self, host: str) -> KnownDelegation | None:
        return self._known.get(host)

    async def put(self, host: str, known: KnownDelegation) -> None:
        await trio.lowlevel.checkpoint()
        self._known[host] = known


class _Invalid(Exception):
    """The host answered, and not with a delegation."""


class Resolver:
    """One per server."""

    def __init__(
        self,
        http: HttpClient,
        dns: Dns,
        delegations: DelegationStore,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._http = http
        self._dns = dns
        self._delegations = delegations
        self._now_ms = now_ms
        self._locks = KeyedLocks()
        self._srv: OrderedDict[str, tuple[float, SrvAnswer]] = OrderedDict()

    async def fetch_target(self, server_name: ServerName) -> Target:
        """Where to send requests for ``server_name``. Raises `Unreachable`, and `Malformed` for what is no name."""
        host, port = split_server_name(parse_server_name(server_name))
        # 1. If the hostname is an IP literal, use that address, with the given port or 8448.
        # 2. If the server name includes an explicit port, resolve the hostname.
        if parse_ip_literal(host) is not None or port is not None:
            return _direct(host, port, server_name)
        # 3. Otherwise, ask for /.well-known/matrix/server.
        delegated = await self._fetch_delegated(host)
        if delegated is None:
            # 4. to 6. SRV records of the hostname, or its addresses and 8448.
            return await self._fetch_by_srv(host, server_name)
        delegated_host, delegated_port = split_server_name(ServerName(delegated))
        # 3.1, 3.2. An IP literal, or an explicit port.
        if parse_ip_literal(delegated_host) is not None or delegated_port is not None:
            return _direct(delegated_host, delegated_port, delegated)
        # 3.3 to 3.5. SRV records of the delegated hostname, or its addresses and 8448.
        return await self._fetch_by_srv(delegated_host, delegated)

    async def _fetch_by_srv(self, host: str, host_header: str) -> Target:
        for service in ("_matrix-fed._tcp", "_matrix._tcp"):
            answer = await self._fetch_srv(f"{service}.{host.rstrip('.')}", host)
            if answer.records:
                record = choose_srv(answer.records)
                if record is None:
                    raise Unreachable(f"{host} says that it offers no {service}")
                # The certificate is for the host: DNS alone does not prove that the target may speak for it.
                return Target(host=host.lower(), port=record.port, route_host=record.target, host_header=host_header)
        return _direct(host, None, host_header)

    async def _fetch_srv(self, name: str, host: str) -> SrvAnswer:
        if self._http.looks_up_elsewhere(host):
            return SrvAnswer((), 0)
        known = self._srv.get(name)
        if known is not None and trio.current_time() < known[0]:
            return known[1]
        try:
            answer = await self._dns.fetch_srv(name)
        except Unreachable as error:
            # Name servers that do not know this kind of record are still about; the addresses may be enough.
            _log.debug("SRV records cannot be looked up", name=name, error=str(error))
            answer = SrvAnswer((), 0)
        ttl_s = min(max(answer.ttl_s, SRV_CACHED_S_MIN), SRV_CACHED_S_MAX)
        self._srv[name] = (trio.current_time() + ttl_s, answer)
        self._srv.move_to_end(name)
        if len(self._srv) > SRV_CACHED_MAX:
            self._srv.popitem(last=False)
        return answer

    async def _fetch_delegated(self, host: str) -> str | None:
        """What the host's ``.well-known`` says, or said within its time. ``None``: it delegates to nobody."""
        host = host.lower()
        async with self._locks.hold(host):
            known = self._delegations.get(host)
            if known is None or known.expires_ms <= self._now_ms():
                known = await self._ask(host, known)
                await self._delegations.put(host, known)
        return known.delegated or None

    async def _ask(self, host: str, before: KnownDelegation | None) -> KnownDelegation:
        try:
            reply = await self._fetch_well_known(host)
            delegated = parse_well_known(reply)
        except (Unreachable, _Invalid) as error:
            _log.debug("a host delegates to nobody", host=host, error=str(error))
            return self._note_failure(before, may_keep=isinstance(error, Unreachable))
        now_ms = self._now_ms()
        return KnownDelegation(delegated, now_ms + cache_ms(reply.headers, now_ms), 0, now_ms + CACHED_MAX_MS)

    def _note_failure(self, before: KnownDelegation | None, *, may_keep: bool) -> KnownDelegation:
        """Ask again later, and later each time. What was said before counts on while the host is merely silent."""
        now_ms = self._now_ms()
        failures = 1 if before is None else before.failures + 1
        expires_ms = now_ms + min(FAILED_MAX_MS, FAILED_MIN_MS << min(failures - 1, 10))
        if may_keep and before is not None and now_ms < before.usable_until_ms:
            return KnownDelegation(before.delegated, expires_ms, failures, before.usable_until_ms)
        return KnownDelegation("", expires_ms, failures)

    async def _fetch_well_known(self, host: str) -> HttpReply:
        """The answer at the end of the redirections."""
        url = f"https://{host}{WELL_KNOWN_PATH}"
        seen: set[str] = set()
        with trio.move_on_after(WELL_KNOWN_TIMEOUT_S):
            while url not in seen and len(seen) <= REDIRECTS_MAX:
                seen.add(url)
                target, path = https_target(url)
                reply = await self._http.fetch(
                    "GET", target, path, bytes_max=WELL_KNOWN_BYTES_MAX, timeout_s=WELL_KNOWN_TIMEOUT_S
                )
                next_url = _follow(url, reply)
                if next_url is None:
                    return reply
                url = next_url
            raise _Invalid("it is redirected too often, or in a circle")
        raise Unreachable(f"{host} gave no answer within {WELL_KNOWN_TIMEOUT_S:g} s")


def split_server_name(server_name: ServerName) -> tuple[str, int | None]:
    """Hostname, with the brackets of IPv6, and explicit port."""
    host, colon, port = server_name.rpartition(":")
    if not colon or server_name.endswith("]"):
        return server_name, None
    return host, int(port)


def parse_well_known(reply: HttpReply) -> str:
    """The delegated server name. Raises what counts as an error response of the host."""
    if reply.status != 200:
        raise _Invalid(f"status {reply.status}")
    try:
        # Whatever the Content-Type: it should be read as JSON. Spec: server-server-api/#getwell-knownmatrixserver
        answer: Any = parse_json(reply.body)
        delegated = answer["m.server"] if isinstance(answer, dict) else None
        if not isinstance(delegated, str):
            raise _Invalid("m.server is not text")
        _require_port(parse_server_name(delegated))
    except (Malformed, KeyError) as error:
        raise _Invalid(f"no server name: {error}") from None
    return delegated


def cache_ms(headers: Mapping[str, str], now_ms: int) -> int:
    """For how long an answer may be kept. ``Cache-Control`` outranks ``Expires``. See RFC 9111, section 4.2"""
    directives = [part.strip().lower() for part in headers.get("cache-control", "").split(",")]
    if {"no-store", "no-cache"} & set(directives):
        return CACHED_MIN_MS
    for directive in directives:
        name, _, value = directive.partition("=")
        seconds = value.strip('"')
        if name == "max-age" and seconds.isascii() and seconds.isdigit():
            return _clamp(int(seconds[:10]) * 1000)
    if "expires" in headers:
        try:
            expires_ms = int(parsedate_to_datetime(headers["expires"]).timestamp() * 1000)
        except (ValueError, OverflowError):
            return CACHED_MIN_MS  # an invalid date, "0" above all, lies in the past
        return _clamp(expires_ms - now_ms)
    return CACHED_DEFAULT_MS


def _clamp(lifetime_ms: int) -> int:
    return max(CACHED_MIN_MS, min(lifetime_ms, CACHED_MAX_MS))


def _follow(url: str, reply: HttpReply) -> str | None:
    """Where the answer sends on to; it has to stay on HTTPS."""
    try:
        return redirection(url, reply.status, reply.headers)
    except ValueError as error:
        raise _Invalid(f"it is redirected to what is no address for it: {error}") from None


def _require_port(server_name: ServerName) -> None:
    _, port = split_server_name(server_name)
    if port is not None and not 0 < port < 65536:
        raise Malformed("a port must be from 1 to 65535")


def _direct(host: str, port: int | None, host_header: str) -> Target:
    if port is not None and not 0 < port < 65536:
        raise Unreachable(f"{host_header} has a port that is none")
    plain = host.removeprefix("[").removesuffix("]").lower()
    return Target(host=plain, port=port or DEFAULT_PORT, route_host=plain, host_header=host_header)
