"""The HTTP client over real TLS: who it believes, where it does not go, and what it takes."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from conduit_py.config import Proxy, ProxyRule
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.http import HttpClient, HttpReply, HttpStream, Target
from tests.outbound.web import Answer, Asked, Internet, Machine, json_answer


def hello(asked: Asked) -> Answer:
    return json_answer({"host": asked.headers["host"]})


def target(host: str, *, port: int = 8448, route_host: str = "", is_exempt: bool = False) -> Target:
    return Target(host=host, port=port, route_host=route_host or host, host_header=host, is_exempt=is_exempt)


async def get(client: HttpClient, to: Target, *, bytes_max: int = 1000) -> HttpReply:
    return await client.fetch("GET", to, "/path?x=1", bytes_max=bytes_max, timeout_s=5)


async def test_fetch_gives_the_answer_and_reuses_the_connection(internet: Internet) -> None:
    machine = await internet.put(Machine(("a.test",), hello), "1.1.1.1", 8448)
    internet.name("a.test", "1.1.1.1")
    client = internet.client()
    replies = [await get(client, target("a.test")) for _ in range(3)]
    assert [(reply.status, reply.body) for reply in replies] == [(200, b'{"host":"a.test"}')] * 3
    assert [asked.target for asked in machine.asked] == ["/path?x=1"] * 3
    assert machine.handshakes == 1
    await client.aclose()


async def test_certificate_for_another_name_is_refused(internet: Internet) -> None:
    machine = await internet.put(Machine(("b.test",), hello), "1.1.1.1", 8448)
    internet.name("a.test", "1.1.1.1")
    client = internet.client()
    with pytest.raises(Unreachable, match=r"a\.test"):
        await get(client, target("a.test"))
    assert machine.asked == []
    await client.aclose()


async def test_certificate_is_verified_though_a_connection_to_the_same_address_is_open(internet: Internet) -> None:
    """The connection of one name is never used for another, even at the same address and port."""
    machine = await internet.put(Machine(("a.test",), hello), "1.1.1.1", 8448)
    internet.name("a.test", "1.1.1.1")
    internet.name("evil.test", "1.1.1.1")
    client = internet.client()
    await get(client, target("a.test"))
    with pytest.raises(Unreachable, match=r"evil\.test"):
        await get(client, target("evil.test"))
    await get(client, target("a.test"))
    assert [asked.headers["host"] for asked in machine.asked] == ["a.test", "a.test"]
    assert machine.handshakes == 1
    await client.aclose()


async def test_target_of_srv_must_prove_to_be_the_host(internet: Internet) -> None:
    internet.name("machine.test", "1.1.1.1")
    await internet.put(Machine(("machine.test",), hello), "1.1.1.1", 443)
    client = internet.client()
    with pytest.raises(Unreachable):
        await get(client, target("a.test", port=443, route_host="machine.test"))
    await internet.put(Machine(("a.test",), hello), "1.1.1.1", 443)
    assert (await get(client, target("a.test", port=443, route_host="machine.test"))).status == 200
    await client.aclose()


async def test_certificate_of_an_unknown_authority_is_refused(internet: Internet, tmp_path: Path) -> None:
    await internet.put(Machine(("a.test",), hello), "1.1.1.1", 8448)
    internet.name("a.test", "1.1.1.1")
    client = HttpClient(
        dns=internet.dns, denylist=(), proxy=Proxy(), ca_certificates=None, requests_max=1, tcp=internet.cables
    )
    with pytest.raises(Unreachable, match="certificate verify failed"):
        await get(client, target("a.test"))
    await client.aclose()


async def test_authority_in_ssl_cert_file_is_trusted_as_well(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(internet.ca_file))
    await internet.put(Machine(("a.test",), hello), "1.1.1.1", 8448)
    internet.name("a.test", "1.1.1.1")
    client = HttpClient(
        dns=internet.dns, denylist=(), proxy=Proxy(), ca_certificates=None, requests_max=1, tcp=internet.cables
    )
    assert (await get(client, target("a.test"))).status == 200
    await client.aclose()


async def test_bad_ca_certificates_are_told_at_once(internet: Internet, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("absent.pem", "empty.pem"):
        with pytest.raises(OSError, match=name):
            HttpClient(dns=internet.dns, denylist=(), proxy=Proxy(), ca_certificates=tmp_path / name, requests_max=1)


async def test_certificate_of_an_ip_literal_must_be_for_the_address(internet: Internet) -> None:
    await internet.put(Machine(("1.1.1.1",), hello), "1.1.1.1", 8448)
    await internet.put(Machine(("2001:4860::1",), hello), "2001:4860::1", 8448)
    await internet.put(Machine(("3.3.3.3",), hello), "2.2.2.2", 8448)
    client = internet.client()
    assert (await get(client, target("1.1.1.1"))).status == 200
    assert (await get(client, target("2001:4860::1"))).status == 200
    with pytest.raises(Unreachable):
        await get(client, target("2.2.2.2"))
    await client.aclose()


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "127.0.0.1", "::1", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1"]
)
async def test_denied_address_is_never_connected_to(internet: Internet, address: str) -> None:
    internet.name("a.test", address)
    client = internet.client()
    for host in ("a.test", address):
        with pytest.raises(Unreachable, match="ip_range_denylist"):
            await get(client, target(host))
    assert internet.cables.connected == []
    await client.aclose()


async def test_address_that_was_checked_is_the_one_connected_to(internet: Internet) -> None:
    """A name that answers differently when asked again (DNS rebinding) leads nowhere new."""
    internet.name("a.test", "1.1.1.1", "10.0.0.1")
    client = internet.client()
    with pytest.raises(Unreachable, match="refused"):
        await get(client, target("a.test"))
    with pytest.raises(Unreachable, match="ip_range_denylist"):
        await get(client, target("a.test"))
    assert internet.cables.connected == [("1.1.1.1", 8448)]
    assert internet.dns.asked == ["a.test", "a.test"]
    await client.aclose()


async def test_denied_addresses_among_others_are_left_out(internet: Internet) -> None:
    await internet.put(Machine(("a.test",), hello), "1.1.1.1", 8448)
    internet.name("a.test", ["10.0.0.1", "9.9.9.9", "1.1.1.1"])
    client = internet.client()
    assert (await get(client, target("a.test"))).status == 200
    assert internet.cables.connected == [("9.9.9.9", 8448), ("1.1.1.1", 8448)]
    await client.aclose()


async def test_host_named_in_the_configuration_may_be_at_a_denied_address(internet: Internet) -> None:
    await internet.put(Machine(("a.test",), hello), "10.0.0.1", 8448)
    internet.name("a.test", "10.0.0.1")
    client = internet.client()
    assert (await get(client, target("a.test", is_exempt=True))).status == 200
    await client.aclose()


async def test_connection_made_for_the_operator_is_not_used_for_others(internet: Internet) -> None:
    machine = await internet.put(Machine(("a.test",), hello), "10.0.0.1", 8448)
    internet.name("a.test", "10.0.0.1")
    client = internet.client()
    await get(client, target("a.test", is_exempt=True))
    with pytest.raises(Unreachable, match="ip_range_denylist"):
        await get(client, target("a.test"))
    await get(client, target("a.test", is_exempt=True))
    assert (len(machine.asked), machine.handshakes) == (2, 1)
    await client.aclose()


async def test_answer_that_is_too_large_is_cut_off(internet: Internet) -> None:
    await internet.put(Machine(("a.test",), lambda asked: (200, {}, b"x" * 100_000)), "1.1.1.1", 8448)
    internet.name("a.test", "1.1.1.1")
    client = internet.client()
    with pytest.raises(Unreachable, match="larger than 99999 bytes"):
        await get(client, target("a.test"), bytes_max=99_999)
    assert len((await get(client, target("a.test"), bytes_max=100_000)).body) == 100_000
    await client.aclose()


async def test_silence_ends_in_time(internet: Internet, autojump_clock: trio.testing.MockClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        internet.lead("1.1.1.1", 8448, silent.getsockname()[1])
        client = internet.client()
        with pytest.raises(Unreachable, match="no answer within 5 s"):
            await get(client, target("1.1.1.1"))
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        await client.aclose()


async def test_no_more_requests_at_a_time_than_allowed(internet: Internet) -> None:
    running = most = 0

    async def nothing() -> AsyncGenerator[bytes, None]:
        nonlocal running
        await trio.testing.wait_all_tasks_blocked()
        running -= 1
        yield b""

    class Slow(HttpClient):
        @asynccontextmanager
        async def _open(self, *args: object, **options: object) -> AsyncIterator[HttpStream]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            yield HttpStream(200, {}, nothing())

    client = Slow(dns=internet.dns, denylist=(), proxy=Proxy(), ca_certificates=None, requests_max=3)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(get, client, target("a.test"))
    assert most == 3


async def test_run_closes_the_connections(internet: Internet) -> None:
    machine = await internet.put(Machine(("a.test",), hello), "1.1.1.1", 8448)
    internet.name("a.test", "1.1.1.1")
    client = internet.client()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await get(client, target("a.test"))
        nursery.cancel_scope.cancel()
    await get(client, target("a.test"))
    assert machine.handshakes == 2
    await client.aclose()


# --- proxies ---


def through(url: str) -> Proxy:
    return Proxy((ProxyRule(url, ("*.test",), ()),))


class Tunnel:
    """A proxy on loopback: notes what it is told and leads every tunnel to one port."""

    def __init__(self, dialogue: list[tuple[bytes, bytes]], local_port: int) -> None:
        self._dialogue = dialogue
        self._local_port = local_port
        self.heard: list[bytes] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        for expected, reply in self._dialogue:
            said = b""
            while len(said) < len(expected):
                more = await stream.receive_some(len(expected) - len(said))
                if not more:
                    return
                said += more
            self.heard.append(said)
            await stream.send_all(reply)
            if said != expected:
                return
        if not self._local_port:
            return
        onward = await trio.open_tcp_stream("127.0.0.1", self._local_port)
        async with onward, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, stream, onward, nursery.cancel_scope)
            nursery.start_soon(_pump, onward, stream, nursery.cancel_scope)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    async for data in source:
        await sink.send_all(data)
    scope.cancel()


SOCKS_NAMED = b"\x05\x01\x00\x03\x06a.test\x21\x00"
SOCKS_DONE = b"\x05\x00\x00\x01" + bytes(6)
CONNECT = b"CONNECT a.test:8448 HTTP/1.1\r\nHost: a.test:8448\r\n\r\n"

DIALOGUES = {
    "socks5h://proxy.example:1080": [(b"\x05\x01\x00", b"\x05\x00"), (SOCKS_NAMED, SOCKS_DONE)],
    "socks5h://u:p@proxy.example:1080": [
        (b"\x05\x01\x02", b"\x05\x02"),
        (b"\x01\x01u\x01p", b"\x01\x00"),
        (SOCKS_NAMED, SOCKS_DONE),
    ],
    "socks5://proxy.example:1080": [
        (b"\x05\x01\x00", b"\x05\x00"),
        (b"\x05\x01\x00\x01\x01\x01\x01\x01\x21\x00", b"\x05\x00\x00\x03\x01x\x00\x00"),
    ],
    "http://proxy.example:1080": [(CONNECT, b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")],
    "http://u:p@proxy.example:1080": [
        (CONNECT[:-2] + b"Proxy-Authorization: Basic dTpw\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n")
    ],
}


@pytest.mark.parametrize("url", DIALOGUES)
async def test_proxy_is_gone_through_and_the_certificate_verified(internet: Internet, url: str) -> None:
    machine = await internet.put(Machine(("a.test",), hello), "1.1.1.1", 8448)
    internet.name("a.test", "1.1.1.1")
    internet.name("proxy.example", "10.0.0.9")  # the operator named it, so it may be inside
    tunnel = Tunnel(DIALOGUES[url], internet.cables.ends["1.1.1.1", 8448])
    await internet.put_stream(tunnel.serve, "10.0.0.9", 1080)
    client = internet.client(proxy=through(url))
    assert (await get(client, target("a.test"))).status == 200
    await client.aclose()
    assert tunnel.heard == [said for said, _ in DIALOGUES[url]]
    assert internet.cables.connected == [("10.0.0.9", 1080)]
    assert ("a.test" in internet.dns.asked) == url.startswith("socks5:")
    assert machine.handshakes == 1


@pytest.mark.parametrize(
    ("url", "dialogue", "why"),
    [
        ("socks5h://10.0.0.9", [(b"\x05\x01\x00", b"\x05\xff")], "SOCKS 5"),
        ("socks5h://10.0.0.9", [(b"\x05\x01\x00", b"\x05\x00"), (SOCKS_NAMED, b"\x05\x04" + bytes(8))], "host unreach"),
        ("socks5h://u:p@10.0.0.9", [(b"\x05\x01\x02", b"\x05\x02"), (b"\x01\x01u\x01p", b"\x01\x01")], "password"),
        ("http://10.0.0.9:1080", [(CONNECT, b"HTTP/1.1 403 Forbidden\r\n\r\n")], "403 Forbidden"),
        ("http://10.0.0.9:1080", [(CONNECT, b"x" * 9000)], "does not speak HTTP"),
        ("http://10.0.0.9:1080", [(CONNECT + b"!", b"")], "does not answer"),
    ],
)
async def test_proxy_that_refuses_is_told(
    internet: Internet,
    url: str,
    dialogue: list[tuple[bytes, bytes]],
    why: str,
    autojump_clock: trio.testing.MockClock,
) -> None:
    tunnel = Tunnel(dialogue, 0)
    autojump_clock.autojump_threshold = 0.2  # real sockets need a moment
    await internet.put_stream(tunnel.serve, "10.0.0.9", 1080)
    client = internet.client(proxy=through(url))
    with pytest.raises(Unreachable, match=why):
        await client.fetch("GET", target("a.test"), "/", bytes_max=10, timeout_s=30)
    await client.aclose()


async def test_denied_ip_literal_is_not_reached_through_a_proxy_either(internet: Internet) -> None:
    client = internet.client(proxy=Proxy((ProxyRule("socks5h://10.0.0.9", (), ()),)))
    with pytest.raises(Unreachable, match="ip_range_denylist"):
        await get(client, target("127.0.0.1"))
    assert internet.cables.connected == []
    await client.aclose()
