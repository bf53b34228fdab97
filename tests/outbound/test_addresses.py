"""Asking real resolvers: the system's, and a name server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
import trio

from conduit_py.outbound.addresses import SrvRecord, SystemDns, parse_ip_literal
from conduit_py.outbound.errors import Unreachable

NAME = "_matrix-fed._tcp.a.test"


async def serve_names(sock: trio.socket.SocketType) -> None:
    """Knows the services of a.test and that b.test has none; refuses to say anything of others."""
    while True:
        data, peer = await sock.recvfrom(512)
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        name = str(query.question[0].name)
        if name == f"{NAME}.":
            records = ("5 7 4433 c.test.", "1 0 443 d.test.", "9 0 0 .")
            reply.answer.append(dns.rrset.from_text(name, 600, "IN", "SRV", *records))
        elif name == "b.test.":
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif name != "empty.test.":
            reply.set_rcode(dns.rcode.REFUSED)
        await sock.sendto(reply.to_wire(), peer)


@pytest.fixture
async def name_server(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The only one that the resolver of the test knows."""
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = sock.getsockname()[1]
        monkeypatch.setattr(dns.asyncresolver, "Resolver", lambda: resolver)
        nursery.start_soon(serve_names, sock)
        yield
        nursery.cancel_scope.cancel()


async def test_srv_records_are_read(name_server: None) -> None:
    answer = await SystemDns().fetch_srv(NAME)
    assert set(answer.records) == {
        SrvRecord(5, 7, 4433, "c.test"),
        SrvRecord(1, 0, 443, "d.test"),
        SrvRecord(9, 0, 0, ""),
    }
    assert answer.ttl_s == 600


@pytest.mark.parametrize("name", ["b.test", "empty.test"])
async def test_no_srv_records_are_none(name: str, name_server: None) -> None:
    assert (await SystemDns().fetch_srv(name)).records == ()


async def test_name_server_that_refuses_is_unreachable(name_server: None) -> None:
    with pytest.raises(Unreachable, match=r"c\.test"):
        await SystemDns().fetch_srv("c.test")


async def test_system_without_name_servers_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.asyncresolver, "Resolver", fail)
    with pytest.raises(Unreachable):
        await SystemDns().fetch_srv("a.test")


async def test_addresses_are_those_the_system_knows() -> None:
    found = await SystemDns().fetch_addresses("localhost")
    assert found
    assert all(address.is_loopback for address in found)


async def test_name_that_cannot_be_one_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await SystemDns().fetch_addresses("a" * 64 + ".test")


@pytest.mark.parametrize(("host", "is_literal"), [("1.2.3.4", True), ("[::1]", True), ("::1", True), ("1.2.3", False)])
def test_literals_are_told_from_names(host: str, is_literal: bool) -> None:
    assert (parse_ip_literal(host) is not None) == is_literal
