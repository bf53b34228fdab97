"""Several servers that ask each other over TLS, at made-up addresses of ``tests.outbound.web``."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.servers import server_routes
from conduit_py.data.short_ids import ShortIds
from conduit_py.http.app import App
from conduit_py.http.config import HttpConfig
from conduit_py.http.in_process import AppClient
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.http.server import serve_http
from conduit_py.http.tls import Tls
from conduit_py.matrix.ids import ServerName
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.appservices.build import build_appservices
from conduit_py.service.errors import MatrixError
from conduit_py.service.federation.build import Federation, build_federation
from conduit_py.service.federation.handshakes.build import build_handshakes
from conduit_py.service.federation.receive.build import build_receiving
from conduit_py.service.federation.receive.receiver import Receiver
from conduit_py.service.hub import SyncHub
from conduit_py.service.media.build import build_media
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.rooms.build import Around, build_writes
from conduit_py.service.server_keys import load_signing_key
from conduit_py.service.translate import translate
from conduit_py.service.users.store import Store
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, stamp
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import Writer, open_writer
from kvschema.engine.memory import MemoryEngine
from tests.outbound.web import Internet, open_internet
from tests.rig.sending import open_outbox
from tests.rig.server import START_MS, load_test_config

ECHO = "/_matrix/federation/v1/echo"


@dataclass
class Peer:
    """One server, in the network unless it is down."""

    name: str
    federation: Federation
    app: AppClient
    engine: MemoryEngine
    stop: trio.Event


class Network:
    """Made by ``open_network``. Time stands still."""

    def __init__(self, internet: Internet, folder: Path, nursery: trio.Nursery) -> None:
        self.internet = internet
        self.now_ms = START_MS
        self._folder = folder
        self._nursery = nursery
        self._count = 0

    async def start(self, name: str, *, certificate: str = "", **variables: str) -> Peer:
        """A server at a new address, reached at port 8448; ``certificate`` is the name it proves, its own if empty."""
        self._count += 1
        address = f"1.1.1.{self._count}"
        settings = {"SERVER_NAME": name, "ALLOW_FEDERATION": "true", "TRUSTED_SERVERS": '[""]', **variables}
        config = load_test_config(**settings, CA_CERTIFICATES=str(self.internet.ca_file))
        engine = MemoryEngine()
        stamp(engine, name)
        database = Database(engine, ObjectCache(100_000))
        writer = await self._nursery.start(_run_writer, engine, database)
        store = Store(database=database, writer=writer, locks=KeyedLocks(), ids=ShortIds(), now_ms=lambda: self.now_ms)
        seed = self._count
        key = await load_signing_key(database, writer, random_bytes=lambda length: bytes([seed]) * length)
        federation = build_federation(
            config,
            store,
            signing_key=key,
            throttle=lambda key: None,
            has_threads=False,
            dns=self.internet.dns,
            tcp=self.internet.cables,
        )
        self._nursery.start_soon(federation.http.run)
        auth = ServerAuthenticator(federation.verifier, (), lambda origin: None)
        around = Around(
            appservices=build_appservices(
                store, AppServices(ServerName(name), ()), federation.http, clock=trio.current_time
            ),
            signing_key=key,
            fetcher=federation.client,
            lookups=federation.lookups,
            hub=SyncHub(),
            outbox=open_outbox(ServerName(name)),
            throttle=RateLimiter({}, trio.current_time),
            random_id=secrets.token_urlsafe,
            random_hex=secrets.token_hex,
            has_threads=False,
        )
        writes = build_writes(config, store, around)
        receiving = build_receiving(config, store, writes, federation)
        handshakes = build_handshakes(config, store, writes, federation, around.appservices, has_threads=False)
        receiver = Receiver(store, receiving.room_events, {})
        media = build_media(
            config, store, federation.media, throttle=lambda key: None, random_id=lambda: "x", has_threads=False
        )
        routes = [
            *server_routes(
                auth, config, federation, handshakes, receiver, media, lambda key: None, now_ms=store.now_ms
            ),
            _echo(auth),
        ]
        app = App(routes, request_bytes_max=100_000, refusals=(MatrixError,), translate=translate)
        stop = trio.Event()
        port = await self._listen(app, certificate or name, stop)
        self.internet.name(name, address)
        self.internet.lead(address, 8448, port)
        return Peer(name, federation, AppClient(app), engine, stop)

    async def _listen(self, app: App, certificate: str, stop: trio.Event) -> int:
        issued = self.internet.ca.issue_cert(certificate)
        chain, private_key = self._folder / f"{self._count}.pem", self._folder / f"{self._count}.key"
        issued.cert_chain_pems[0].write_to_path(str(chain))
        issued.private_key_pem.write_to_path(str(private_key))
        config = HttpConfig(hosts=("127.0.0.1",), tls=Tls(chain, private_key))
        (url,) = await self._nursery.start(partial(serve_http, app, config, stop=stop))
        return int(str(url).rpartition(":")[2])

    def cut(self, peer: Peer) -> None:
        """Nobody can reach the server any more."""
        peer.stop.set()
        self.internet.dns.addresses.pop(peer.name)


async def _run_writer(engine: MemoryEngine, database: Database, *, task_status: trio.TaskStatus[Writer]) -> None:
    async with open_writer(engine, database.cache, last_pos=1, threaded=False) as writer:
        task_status.started(writer)
        await trio.sleep_forever()


def _echo(auth: ServerAuthenticator) -> Routes:
    """An operation that only says who asks."""
    routes = Routes("echo")

    @routes.put(ECHO)
    async def echo(request: Request) -> Json:
        return {"origin": await auth.require_server(request)}

    return routes


@asynccontextmanager
async def open_network(folder: Path) -> AsyncIterator[Network]:
    async with open_internet(folder) as internet, trio.open_nursery() as nursery:
        yield Network(internet, folder, nursery)
        nursery.cancel_scope.cancel()
