"""Every operation of the server, and the application made of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, cast

from conduit_py.api.auth import Authenticator
from conduit_py.api.client import (
    banning,
    create_room,
    inviting,
    joining,
    kicking,
    leaving,
    login,
    logout,
    redaction,
    refresh,
    registration,
    registration_tokens,
    room_send,
    room_state,
    whoami,
)
from conduit_py.config import Config
from conduit_py.http.app import App
from conduit_py.http.routes import Routes
from conduit_py.service.errors import MatrixError
from conduit_py.service.rooms.create import CreateService
from conduit_py.service.rooms.membership import MembershipService
from conduit_py.service.rooms.send import SendService
from conduit_py.service.translate import translate
from conduit_py.service.users.login import LoginService
from conduit_py.service.users.register import RegisterService
from conduit_py.service.users.sessions import SessionService
from conduit_py.service.users.tokens import TokenService


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What the handlers call. Each module below takes the few it needs."""

    config: Config
    auth: Authenticator
    tokens: TokenService
    sessions: SessionService
    logins: LoginService
    registrations: RegisterService
    create: CreateService
    membership: MembershipService
    send: SendService


def build_routes(to: Operations) -> list[Routes]:
    """The operations of every module, in the order of the spec's OpenAPI files."""
    return [
        banning.routes(to.auth, to.membership),
        create_room.routes(to.auth, to.create, default_room_version=to.config.default_room_version),
        inviting.routes(to.auth, to.membership),
        joining.routes(to.auth, to.membership),
        kicking.routes(to.auth, to.membership),
        leaving.routes(to.auth, to.membership),
        login.routes(to.auth, to.logins, base_url=to.config.well_known.client),
        logout.routes(to.auth, to.sessions),
        redaction.routes(to.auth, to.send),
        refresh.routes(to.tokens),
        registration.routes(to.auth, to.registrations),
        registration_tokens.routes(to.registrations),
        room_send.routes(to.auth, to.send),
        room_state.routes(to.auth, to.send),
        whoami.routes(to.auth),
    ]


def build_app(to: Operations) -> App:
    """The application, ready to be served."""
    return App(
        build_routes(to),
        request_bytes_max=to.config.max_request_size,
        refusals=(MatrixError,),
        translate=translate,
    )


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
        Operation(route.method, route.template, route.name, route.module)
        for routes in build_routes(to)
        for route in routes
    ]


class _Nothing:
    """Stands for a service while routes are only listed."""

    def __getattr__(self, name: str) -> _Nothing:
        return self
