"""A small internet: names, addresses, and machines that speak TLS with certificates of one authority.

Addresses are made up; connections to them end on loopback, at the machine that the test put there.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import h11
import httpcore2
import orjson
import trio
import trustme

from conduit_py.config import IpAddress, IpNetwork, Proxy
from conduit_py.outbound.addresses import SrvAnswer, SrvRecord
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.http import HttpClient

PRIVATE: tuple[IpNetwork, ...] = (ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8"), ip_network("::1/128"))

Answer = tuple[int, dict[str, str], bytes]


def json_answer(content: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, orjson.dumps(content)


@dataclass
class Asked:
    """One request as a machine saw it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class FakeDns:
    """Names that a test has given addresses and services. A list of addresses per question, the last for good."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[list[str]]] = {}
        self.srv: dict[str, list[SrvRecord]] = {}
        self.ttl_s = 300.0
        self.asked: list[str] = []

    async def fetch_addresses(self, host: str) -> tuple[IpAddress, ...]:
        await trio.lowlevel.checkpoint()
        self.asked.append(host)
        answers = self.addresses.get(host)
        if not answers:
            raise Unreachable(f"{host} is no name")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return tuple(map(ip_address, answer))

    async def fetch_srv(self, name: str) -> SrvAnswer:
        await trio.lowlevel.checkpoint()
        self.asked.append(name)
        return SrvAnswer(tuple(self.srv.get(name, ())), self.ttl_s)


class Cables(httpcore2.AsyncNetworkBackend):
    """Leads connections to made-up addresses to ports of loopback."""

    def __init__(self) -> None:
        self.ends: dict[tuple[str, int], int] = {}
        self.connected: list[tuple[str, int]] = []
        self._tcp = httpcore2.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore2's name
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        await trio.lowlevel.checkpoint()
        self.connected.append((host, port))
        end = self.ends.get((host, port))
        if end is None:
            raise httpcore2.ConnectError("connection refused")
        return await self._tcp.connect_tcp("127.0.0.1", end, timeout=timeout)


@dataclass
class Machine:
    """Answers every request with ``answer``. ``names`` are those that its certificate is for."""

    names: tuple[str, ...]
    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)
    handshakes: int = 0


class Internet:
    """Made by ``open_internet``."""

    def __init__(self, nursery: trio.Nursery, ca_file: Path) -> None:
        self.dns = FakeDns()
        self.cables = Cables()
        self.ca = trustme.CA()
        self.ca_file = ca_file
        self.ca.cert_pem.write_to_path(str(ca_file))
        self._nursery = nursery

    async def put(self, machine: Machine, address: str, port: int, *, is_tls: bool = True) -> Machine:
        """Let the machine listen at a made-up address."""
        context: ssl.SSLContext | None = None
        if is_tls:
            context = self.server_context(*machine.names)

        async def handle(stream: trio.SocketStream) -> None:
            await _serve(machine, stream, context)

        await self.put_stream(handle, address, port)
        return machine

    def server_context(self, *names: str) -> ssl.SSLContext:
        """For a machine that proves to be ``names``."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*names).configure_cert(context)
        return context

    async def put_stream(self, handle: Callable[[trio.SocketStream], Awaitable[None]], address: str, port: int) -> None:
        """Let ``handle`` have every connection to a made-up address."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.lead(address, port, listeners[0].socket.getsockname()[1])
        self._nursery.start_soon(trio.serve_listeners, handle, listeners)

    def lead(self, address: str, port: int, local_port: int) -> None:
        self.cables.ends[(address, port)] = local_port

    def name(self, host: str, *answers: str | list[str]) -> None:
        """Addresses of a host: one answer for each question, the last for all that follow."""
        self.dns.addresses[host] = [[answer] if isinstance(answer, str) else answer for answer in answers]

    def client(self, *, proxy: Proxy = Proxy(), requests_max: int = 10) -> HttpClient:  # noqa: B008  # frozen
        return HttpClient(
            dns=self.dns,
            denylist=PRIVATE,
            proxy=proxy,
            ca_certificates=self.ca_file,
            requests_max=requests_max,
            tcp=self.cables,
        )


async def _serve(machine: Machine, stream: trio.abc.Stream, context: ssl.SSLContext | None) -> None:
    if context is not None:
        stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
    try:
        if isinstance(stream, trio.SSLStream):
            await stream.do_handshake()
            machine.handshakes += 1
        connection = h11.Connection(h11.SERVER)
        while await _serve_one(machine, stream, connection):
            connection.start_next_cycle()
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        return  # the client has gone, or did not trust us
    finally:
        await trio.aclose_forcefully(stream)


async def _serve_one(machine: Machine, stream: trio.abc.Stream, connection: h11.Connection) -> bool:
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            return False
    assert head is not None
    headers = {name.decode(): value.decode() for name, value in head.headers}
    asked = Asked(head.method.decode(), head.target.decode(), headers, body)
    machine.asked.append(asked)
    status, more, content = machine.answer(asked)
    length = {"content-length": str(len(content))} if "transfer-encoding" not in more else {}
    reply = h11.Response(status_code=status, headers=list({**length, **more}.items()))
    for part in (reply, h11.Data(data=content), h11.EndOfMessage()):
        await stream.send_all(connection.send(part) or b"")
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE


@asynccontextmanager
async def open_internet(folder: Path) -> AsyncIterator[Internet]:
    async with trio.open_nursery() as nursery:
        yield Internet(nursery, folder / "ca.pem")
        nursery.cancel_scope.cancel()
