"""Who counts as one, of those that are known by nothing but an address."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def find_network(address: str) -> str:
    """What is counted in place of an address: of IPv6, whoever has one has all that begin with the same 64 bits.

    What is no address stands for itself.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None else str(parsed)
