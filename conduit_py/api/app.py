"""Every operation of the server, and the application made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from conduit_py.api import health as health_api
from conduit_py.api.accounts import account_routes
from conduit_py.api.appservices import appservice_routes
from conduit_py.api.auth import Authenticator
from conduit_py.api.client import presence, pusher, sync
from conduit_py.api.e2ee import e2ee_routes, e2ee_server_routes
from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.media import media_routes
from conduit_py.api.reading import reading_routes
from conduit_py.api.rooms import room_routes
from conduit_py.api.servers import server_routes
from conduit_py.config import Config
from conduit_py.http.app import App
from conduit_py.http.proxies import TrustedProxies
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.metrics import CONTENT_TYPE, Metrics
from conduit_py.observe.requests import OTHER, RequestWatch, Tracer
from conduit_py.service.appservices.build import AppServiceParts
from conduit_py.service.e2ee.build import E2ee
from conduit_py.service.errors import MatrixError
from conduit_py.service.federation.build import Federation
from conduit_py.service.federation.handshakes.build import Handshakes
from conduit_py.service.federation.reading.build import Reading
from conduit_py.service.federation.receive.receiver import Receiver
from conduit_py.service.health import Health
from conduit_py.service.media.build import MediaServices
from conduit_py.service.presence import PresenceService
from conduit_py.service.push.build import Push
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.rooms.build import Rooms
from conduit_py.service.sending.build import SendingServices
from conduit_py.service.sync.service import SyncService
from conduit_py.service.translate import translate
from conduit_py.service.users.build import Accounts

UNSTABLE_FEATURES: Mapping[str, bool] = {"org.matrix.msc3814": True, "org.matrix.msc4222": True}
"""What ``/versions`` tells of drafts that clients ask for. Only what is true stands here."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What the handlers call."""

    config: Config
    auth: Authenticator
    proxies: TrustedProxies
    accounts: Accounts
    presence: PresenceService
    e2ee: E2ee
    push: Push
    appservices: AppServiceParts
    rooms: Rooms
    syncs: SyncService
    media: MediaServices
    throttle: RateLimiter
    federation: Federation
    handshakes: Handshakes
    receiver: Receiver
    reading: Reading
    sending: SendingServices
    now_ms: Callable[[], int]


def build_routes(to: Operations) -> list[Routes]:
    """The operations of every module."""
    servers = ServerAuthenticator(to.federation.verifier, to.proxies, to.sending.senders.heard_from)
    return [
        *account_routes(to.config, to.auth, to.accounts, UNSTABLE_FEATURES),
        pusher.routes(to.auth, to.push.pushers),
        *room_routes(to.config, to.auth, to.rooms),
        presence.routes(to.auth, to.presence),
        *e2ee_routes(to.auth, to.e2ee),
        *appservice_routes(to.auth, to.appservices),
        sync.routes(to.auth, to.syncs, to.accounts.filters),
        *media_routes(to.config, to.auth, to.media, to.throttle),
        *e2ee_server_routes(servers, to.e2ee),
        *server_routes(
            servers, to.config, to.federation, to.handshakes, to.receiver, to.media, to.throttle, now_ms=to.now_ms
        ),
        *reading_routes(servers, to.config, to.reading, to.rooms, to.accounts, now_ms=to.now_ms),
    ]


def build_app(to: Operations, metrics: Metrics, health: Health, tracer: Tracer | None = None) -> App:
    """The application, ready to be served."""

    def observe(route: str, method: str, status: int, seconds: float) -> None:
        # A client may call its method anything.
        metrics.http_requests.add(method if method in _METHODS else OTHER, route, str(status))
        metrics.http_seconds.observe(seconds, route)

    return App(
        [*build_routes(to), health_api.routes(health)],
        request_bytes_max=to.config.max_request_size,
        refusals=(MatrixError,),
        translate=translate,
        watch=RequestWatch(observe, tracer),
        trusted_proxies=to.proxies,
    )


def build_metrics_app(metrics: Metrics, health: Health) -> App:
    """Numbers for Prometheus, and the server's health, served at an address of their own."""
    routes = Routes("metrics")

    @routes.get("/metrics")
    async def get_metrics(request: Request) -> Raw:
        return Raw(metrics.render().encode(), content_type=CONTENT_TYPE)

    return App([routes, health_api.routes(health)], request_bytes_max=0)


@dataclass(frozen=True, slots=True)
class Operation:
    """One routed operation, for the support table."""

    method: str
    path: str
    operation: str
    """The handler's name: ``operationId`` in snake case."""
    module: str
    """The spec's OpenAPI file."""


def all_routes() -> list[Operation]:
    """Every operation that is routed, without building the server: handlers are declared, not called."""
    nothing = cast("Any", _Nothing())
    to = Operations(**{field.name: nothing for field in fields(Operations)})
    return [
        # A rest that the handler wants empty is how a path that ends in a slash is declared.
        Operation(route.method, route.template.removesuffix("<path:rest>"), route.name, route.module)
        for routes in build_routes(to)
        for route in routes
    ]


class _Nothing:
    """Stands for a service while routes are only listed."""

    def __getattr__(self, name: str) -> _Nothing:
        return self
