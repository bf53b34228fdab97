"""Builds the services and the application of one server over any engine, as the server itself does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from conduit_py.api.auth import Authenticator
from conduit_py.api.client import login, logout, refresh, registration, registration_tokens, whoami
from conduit_py.config import Config
from conduit_py.http.app import App
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import ServerName
from conduit_py.service.errors import MatrixError
from conduit_py.service.translate import translate
from conduit_py.service.users.last_seen import LastSeen
from conduit_py.service.users.login import LoginService
from conduit_py.service.users.passwords import Passwords
from conduit_py.service.users.register import RegisterService
from conduit_py.service.users.sessions import SessionService
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import TokenService
from conduit_py.service.users.uia import UiaService
from kvschema.catalog.rooms import ShortUserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What tests reach for beside the application."""

    app: App
    store: Store
    tokens: TokenService
    last_seen: LastSeen
    uia: UiaService
    registrations: RegisterService


def build_services(config: Config, store: Store, *, wake: Callable[[Iterable[ShortUserId]], None]) -> Services:
    """The services of the accounts side, and an application with their operations."""
    passwords = Passwords(config.password_hash, None)
    tokens = TokenService(store, ttl_ms=None if config.access_token_ttl is None else config.access_token_ttl * 1000)
    sessions = SessionService(store, tokens, wake=wake)
    last_seen = LastSeen(store)
    uia = UiaService(store)
    auth = Authenticator(tokens, last_seen, config.trusted_proxies)
    registrations = RegisterService(
        config,
        store,
        sessions=sessions,
        passwords=passwords,
        uia_service=uia,
        throttle=lambda key: None,
        is_exclusive=lambda user_id: False,
    )
    logins = LoginService(
        ServerName(config.server_name), store, sessions=sessions, passwords=passwords, throttle=lambda key: None
    )
    routes: list[Routes] = [
        login.routes(auth, logins, base_url=config.well_known.client),
        logout.routes(auth, sessions),
        refresh.routes(tokens),
        registration.routes(auth, registrations),
        registration_tokens.routes(registrations),
        whoami.routes(auth),
    ]
    app = App(routes, request_bytes_max=config.max_request_size, refusals=(MatrixError,), translate=translate)
    return Services(app=app, store=store, tokens=tokens, last_seen=last_seen, uia=uia, registrations=registrations)


async def run_services(services: Services) -> None:
    """What runs beside the requests for as long as the server does.

    Nothing that sleeps by itself: it would make the mocked clock jump on while a test waits for what never comes.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(services.tokens.run)
