"""Builds the services and the application of one server over any engine, as the server itself does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from conduit_py.api.accounts import account_routes
from conduit_py.api.auth import Authenticator
from conduit_py.config import Config
from conduit_py.http.app import App
from conduit_py.matrix.appservices import Namespace, Registration
from conduit_py.matrix.ids import RoomId, ServerName, UserId
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.errors import MatrixError
from conduit_py.service.requester import Requester
from conduit_py.service.translate import translate
from conduit_py.service.users.build import Accounts, Surroundings, build_accounts
from conduit_py.service.users.store import Store
from kvschema.catalog.rooms import ShortUserId
from tests.rig.remote import Remotes

BRIDGE = Registration(
    id="bridge",
    url=None,
    as_token="the token of the bridge",
    hs_token="the token of the server",
    sender_localpart="_bridge",
    users=(Namespace(re.compile("@bridge-"), exclusive=True),),
)
"""An application service whose user names nobody else may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What tests reach for beside the application."""

    app: App
    store: Store
    accounts: Accounts
    propagated: list[UserId]
    """Users whose profile was to be written into their rooms, in order."""
    remotes: Remotes
    left: list[tuple[UserId, RoomId]]
    """Who was to leave which room, in order."""


def build_services(config: Config, store: Store, *, wake: Callable[[Iterable[ShortUserId]], None]) -> Services:
    """The services of the accounts side, and an application with their operations."""
    propagated: list[UserId] = []

    async def propagate_profile(user: ShortUserId, user_id: UserId) -> None:
        await trio.lowlevel.checkpoint()
        propagated.append(user_id)

    left: list[tuple[UserId, RoomId]] = []

    async def leave_room(requester: Requester, room_id: RoomId) -> None:
        await trio.lowlevel.checkpoint()
        left.append((requester.user_id, room_id))

    remotes = Remotes()
    around = Surroundings(
        fetcher=remotes,
        wake=wake,
        propagate_profile=propagate_profile,
        leave_room=leave_room,
        throttle=lambda key: None,
        appservices=AppServices(ServerName(config.server_name), config.appservices or [BRIDGE]),
    )
    accounts = build_accounts(config, store, around)
    auth = Authenticator(accounts.tokens, accounts.identities, accounts.last_seen, config.trusted_proxies)
    app = App(
        account_routes(config, auth, accounts, {}),
        request_bytes_max=config.max_request_size,
        refusals=(MatrixError,),
        translate=translate,
    )
    return Services(app=app, store=store, accounts=accounts, propagated=propagated, left=left, remotes=remotes)


async def run_services(services: Services) -> None:
    """What runs beside the requests for as long as the server does.

    Nothing that sleeps by itself: it would make the mocked clock jump on while a test waits for what never comes.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(services.accounts.tokens.run)
        nursery.start_soon(services.accounts.deactivation.run)
