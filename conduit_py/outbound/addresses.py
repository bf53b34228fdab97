"""Names to addresses, and the addresses that nothing goes to.

Whoever can make the server send a request chooses the name, and through it the address. So an address is checked after
it was looked up, and exactly the address that was checked is connected to: a name that answers differently the next
time changes nothing.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final, Protocol

import trio

from conduit_py.config import IpAddress, IpNetwork
from conduit_py.outbound.errors import Unreachable

if TYPE_CHECKING:
    import dns.asyncresolver

LOOKUP_TIMEOUT_S: Final = 10.0
LOOKUPS_AT_ONCE: Final = 16
"""Threads that wait for the system's resolver. It is asked because it knows /etc/hosts, which DNS does not."""
ADDRESSES_MAX: Final = 6
"""Addresses of one name that are tried."""

_NAT64: Final = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """One place of a service. See RFC 2782."""

    priority: int
    weight: int
    port: int
    target: str
    """A name without its last dot; empty where the service is decidedly not offered."""


@dataclass(frozen=True, slots=True)
class SrvAnswer:
    records: tuple[SrvRecord, ...]
    """None: there are no such records."""
    ttl_s: float


class Dns(Protocol):
    """What is asked about names."""

    async def fetch_addresses(self, host: str) -> tuple[IpAddress, ...]:
        """Addresses in the order to try them. Raises `Unreachable` when there are none or nobody knows."""

    async def fetch_srv(self, name: str) -> SrvAnswer:
        """Raises `Unreachable` when nobody knows whether there are any."""


class SystemDns:
    """The resolver of the system for addresses, its name servers for the rest."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(LOOKUPS_AT_ONCE)
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def fetch_addresses(self, host: str) -> tuple[IpAddress, ...]:
        try:
            with trio.fail_after(LOOKUP_TIMEOUT_S):
                found = await trio.to_thread.run_sync(_lookup, host, abandon_on_cancel=True, limiter=self._limiter)
        except trio.TooSlowError:
            raise Unreachable(f"{host} cannot be looked up: no answer in time") from None
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{host} cannot be looked up: {error}") from error
        return tuple(dict.fromkeys(found))

    async def fetch_srv(self, name: str) -> SrvAnswer:
        import dns.asyncbackend
        import dns.asyncresolver
        import dns.exception
        import dns.resolver

        try:
            if self._resolver is None:
                self._resolver = dns.asyncresolver.Resolver()
            answer = await self._resolver.resolve(
                name,
                "SRV",
                lifetime=LOOKUP_TIMEOUT_S,
                search=False,
                raise_on_no_answer=False,
                backend=dns.asyncbackend.get_backend("trio"),
            )
        except dns.resolver.NXDOMAIN:
            return SrvAnswer((), 0)
        except (dns.exception.DNSException, OSError) as error:
            raise Unreachable(f"{name} cannot be looked up: {error}") from error
        records = [
            SrvRecord(row.priority, row.weight, row.port, str(row.target).rstrip(".")) for row in answer.rrset or ()
        ]
        return SrvAnswer(tuple(records), answer.rrset.ttl if answer.rrset is not None else 0)


def _lookup(host: str) -> list[IpAddress]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # A scope ("fe80::1%eth0") is nothing that a name of another server can mean.
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def choose_srv(records: Iterable[SrvRecord], *, random_unit: Callable[[], float] = random.random) -> SrvRecord | None:
    """One of the most preferred records, by weight. ``None`` without any, or where the service is not offered."""
    offered = [record for record in records if record.target]
    if not offered:
        return None
    best = min(record.priority for record in offered)
    candidates = [record for record in offered if record.priority == best]
    place = random_unit() * sum(record.weight for record in candidates)
    for record in candidates:
        place -= record.weight
        if place < 0:
            return record
    return candidates[-1]


def parse_ip_literal(host: str) -> IpAddress | None:
    """The address that ``host`` is, with or without the brackets of IPv6; ``None`` for a name."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def is_denied(address: IpAddress, denylist: Iterable[IpNetwork]) -> bool:
    """Whether ``address``, or the IPv4 address it is a wrapping of, lies in one of the ranges."""
    candidates = [address, *_wrapped(address)]
    return any(one in network for network in denylist for one in candidates)


def _wrapped(address: IpAddress) -> list[IpAddress]:
    if not isinstance(address, IPv6Address):
        return []
    found: list[IpAddress] = [inner for inner in (address.ipv4_mapped, address.sixtofour) if inner is not None]
    if address in _NAT64:
        found.append(ip_address(int(address) & 0xFFFFFFFF))
    return found
