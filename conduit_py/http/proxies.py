"""The reverse proxies that are believed what they say of a client."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator

__all__ = ["Network", "TrustedProxies"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies(Collection[Network]):
    """Their networks. All who were given it see what is put in their place."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)

    def replace(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)

    def __contains__(self, network: object) -> bool:
        return network in self._networks

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)
