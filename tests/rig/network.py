"""Several servers in one process and a network between them that can be cut, healed and slowed down.

Every server is whole: what ``conduit_py.server.build`` makes, with all its tasks. Only the sockets are missing: a
request to another server is handed to that server's application. Time is trio's mocked clock.

    async with open_network(make_engine, "one.test", "two.test") as network:
        alice = await network["one.test"].register("alice")
        network.cut("one.test", "two.test")
        await network["two.test"].restart()
        network.heal()
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import trio

from conduit_py.config import Config, IpAddress, Proxy
from conduit_py.data.consistency import check_consistency
from conduit_py.data.short_ids import ShortIds
from conduit_py.http.in_process import AppClient, ClientReply
from conduit_py.outbound.addresses import SrvAnswer
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.http import HttpClient, HttpReply, HttpStream, Target
from conduit_py.server import Server as Built
from conduit_py.server import build
from conduit_py.service.users.store import Store
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, stamp
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import open_writer
from kvschema.catalog.federation import SERVERNAME_DESTINATION
from kvschema.catalog.sending import SERVERNAME_SENDING
from kvschema.catalog.server import GLOBAL, ByName
from kvschema.engine import Engine
from tests.rig.client import Client
from tests.rig.server import PASSWORD, START_MS, load_test_config
from tests.rig.stored import Dump, leaves_no_trace, read_all

SRV_TTL_S = 3600.0
STREAM_BYTES_MAX = 10_000_000
PIECE_BYTES = 1000
DELAY_S_MAX = 2.0
"""The longest that one way of a request takes where delays are asked for."""


class Played(Protocol):
    """A server that a test plays."""

    async def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> ClientReply: ...


class Network:
    """Made by ``open_network``. ``network[name]`` is a server."""

    def __init__(self, chance: random.Random | None) -> None:
        self._nodes: dict[str, Node] = {}
        self._cuts: set[frozenset[str]] = set()
        self._chance = chance
        self.played: dict[str, Played] = {}
        """Servers that a test plays, by name."""
        self.requests: list[tuple[str, str, str, str]] = []
        """Every request between servers that arrived: origin, destination, method, path."""

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def add(self, node: Node) -> None:
        self._nodes[node.name] = node

    def cut(self, first: str, second: str) -> None:
        """Nothing passes between the two until ``heal``; answers on their way are lost too."""
        self._cuts.add(frozenset((first, second)))

    def isolate(self, name: str) -> None:
        """Nothing passes between this server and any other until ``heal``."""
        for other in self._nodes:
            if other != name:
                self.cut(name, other)

    def heal(self) -> None:
        self._cuts.clear()

    def is_cut(self, first: str, second: str) -> bool:
        return frozenset((first, second)) in self._cuts

    async def carry(
        self, origin: str, target: Target, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> HttpReply:
        """Bring a request to the server it is for, and the answer back. Raises ``Unreachable``."""
        name = target.host
        node = self._nodes.get(name) or self.played.get(name)
        await self._travel(origin, name)
        if node is None or path.startswith("/.well-known/"):
            # As a host that has a web server, and no Matrix on it.
            return HttpReply(404, {}, b"")
        self.requests.append((origin, name, method, path))
        reply = await node.handle(method, path, headers, body)
        await self._travel(name, origin)
        return HttpReply(reply.status, reply.headers, reply.body)

    async def _travel(self, origin: str, name: str) -> None:
        if self._chance is not None:
            await trio.sleep(self._chance.uniform(0, DELAY_S_MAX))
        await trio.lowlevel.checkpoint()
        if self.is_cut(origin, name):
            raise Unreachable(f"{name} cannot be asked: the network is cut")


class _Names:
    """No server has SRV records, and no name an address: nothing here connects."""

    async def fetch_addresses(self, host: str) -> tuple[IpAddress, ...]:
        await trio.lowlevel.checkpoint()
        raise Unreachable(f"{host} cannot be looked up")

    async def fetch_srv(self, name: str) -> SrvAnswer:
        await trio.lowlevel.checkpoint()
        return SrvAnswer((), SRV_TTL_S)


class _Http(HttpClient):
    """The client of one server of the network."""

    def __init__(self, network: Network, origin: str) -> None:
        super().__init__(dns=_Names(), denylist=(), proxy=Proxy(), ca_certificates=None, requests_max=100)
        self._network = network
        self._origin = origin

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
        try:
            with trio.fail_after(timeout_s):
                reply = await self._network.carry(self._origin, target, method, path, headers or {}, body or b"")
        except trio.TooSlowError:
            raise Unreachable(f"{target.host} gave no answer within {timeout_s:g} s") from None
        if len(reply.body) > bytes_max:
            raise Unreachable(f"the answer is larger than {bytes_max} bytes")
        return reply

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
        reply = await self.fetch(
            method, target, path, headers=headers, body=body, bytes_max=STREAM_BYTES_MAX, timeout_s=timeout_s
        )
        async with contextlib.aclosing(_in_pieces(reply.body)) as chunks:
            yield HttpStream(reply.status, reply.headers, chunks)


async def _in_pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), PIECE_BYTES):
        await trio.lowlevel.checkpoint()
        yield body[start : start + PIECE_BYTES]


@dataclass(eq=False)
class _Exchange:
    """A request that a server is at."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    reply: ClientReply | None = None


class Node:
    """One server of a network, running or stopped. ``built`` and ``store`` are those of the current run."""

    def __init__(self, network: Network, config: Config, engine: Engine) -> None:
        self.name = config.server_name
        self.engine = engine
        self.config = config
        self._network = network
        self._nursery: trio.Nursery | None = None
        self._stop = trio.CancelScope()
        self._stopped = trio.Event()
        self._requests: trio.Nursery | None = None
        self.built: Built
        self.store: Store

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """One run, until ``stop``."""
        stamp(self.engine, self.name)
        database = Database(self.engine, ObjectCache(int(self.config.db_cache_capacity_mb * 1_000_000)))
        with database.snapshot() as snapshot:
            last_pos = max(snapshot.pos, START_MS * 1000 + int(trio.current_time() * 1_000_000))
        self._stop, self._stopped = trio.CancelScope(), trio.Event()
        try:
            async with (
                open_writer(self.engine, database.cache, last_pos=last_pos, threaded=False) as writer,
                trio.open_nursery() as services,
            ):
                self.store = Store(database=database, writer=writer, locks=KeyedLocks(), ids=ShortIds(), now_ms=_now_ms)
                http = _Http(self._network, self.name)
                self.built = await build(self.config, self.store, hash_limiter=None, dns=_Names(), http=http)
                for task in self.built.tasks:
                    services.start_soon(task)
                with self._stop:
                    async with trio.open_nursery() as requests:
                        self._requests = requests
                        task_status.started()
                        await trio.sleep_forever()
                self._requests = None
                services.cancel_scope.cancel()
        finally:
            self._requests = None
            self._stopped.set()

    async def start(self) -> None:
        assert self._nursery is not None, "the network opens its servers"
        await self._nursery.start(self.run)

    async def stop(self) -> None:
        """What it was at is cut off. What it had stored is there at the next start."""
        self._stop.cancel()
        await self._stopped.wait()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def live_in(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> ClientReply:
        """Answer a request. Raises ``Unreachable`` while the server is down, or stops before it answers."""
        if self._requests is None:
            raise Unreachable(f"{self.name} cannot be asked: the connection was refused")
        exchange = _Exchange()
        self._requests.start_soon(self._answer, exchange, method, path, headers, body)
        try:
            await exchange.done.wait()
        finally:
            exchange.scope.cancel()
        if exchange.reply is None:
            raise Unreachable(f"{self.name} cannot be asked: the connection was closed")
        return exchange.reply

    async def _answer(
        self, exchange: _Exchange, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        try:
            with exchange.scope:
                exchange.reply = await AppClient(self.built.app).request(method, path, headers, body)
        finally:
            exchange.done.set()

    def client(self) -> Client:
        """Somebody who is not logged in. Goes on to work after a restart."""
        return Client(_Door(self))

    async def register(self, name: str, **more: Any) -> Client:
        """Make an account and go on as its user."""
        client = self.client()
        auth = {"type": "m.login.dummy"}
        response = await client.post("/register", {"username": name, "password": PASSWORD, "auth": auth, **more})
        assert response.status == 200, response.body
        client.use_session(response.json)
        client.password = PASSWORD
        return client

    def check(self) -> None:
        """Recompute what is derived. Raises ``AssertionError``."""
        database = Database(self.engine, ObjectCache(0))
        with database.snapshot() as snapshot:
            found = list(check_consistency(snapshot))
        assert not found, (self.name, found)

    def leaves_no_trace(self, *, but: Collection[str] = ()) -> AbstractAsyncContextManager[None]:
        return leaves_no_trace(self, but)

    def dump(self) -> Dump:
        """What a server is at as time passes is left out: that it tries to send what waits, where, and positions."""
        with self.store.snapshot() as snapshot:
            dump = read_all(snapshot)
        del dump[SERVERNAME_SENDING.name], dump[SERVERNAME_DESTINATION.name]
        position = GLOBAL.key.encode(ByName("position"))
        dump[GLOBAL.name] = [row for row in dump[GLOBAL.name] if row[0] != position]
        return dump


class _Door(AppClient):
    """A client's way to a server, in whichever run it is."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> ClientReply:
        return await self._node.handle(method, path, headers or {}, body)


@asynccontextmanager
async def open_network(
    make_engine: Callable[[], Engine], *names: str, chance: random.Random | None = None, **overrides: str
) -> AsyncIterator[Network]:
    """Run one server per name until the block ends, then check what each has stored.

    With ``chance``, requests between servers take random times. ``overrides`` are configuration variables, as
    ``load_test_config`` takes them; ``{name}`` in a value stands for the server's own.
    """
    network = Network(chance)
    settings = {"ALLOW_FEDERATION": "true", "TRUSTED_SERVERS": "[]", "RATE_LIMITS__ENABLED": "false", **overrides}
    async with trio.open_nursery() as nursery:
        for name in names:
            own = {key: value.replace("{name}", name) for key, value in settings.items()}
            node = Node(network, load_test_config(SERVER_NAME=name, **own), make_engine())
            node.live_in(nursery)
            network.add(node)
            await node.start()
        yield network
        for node in network:
            await node.stop()
    for node in network:
        node.check()


def _now_ms() -> int:
    return START_MS + int(trio.current_time() * 1000)
