"""Builds the Admin Room and the commands that are given in it and on the command line."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from conduit_py.config import Config
from conduit_py.config.reload import CurrentConfig
from conduit_py.matrix.ids import ServerName
from conduit_py.service.admin.accounts import AccountTools, build_account_commands
from conduit_py.service.admin.appservices import build_appservice_commands
from conduit_py.service.admin.commands import Dispatcher
from conduit_py.service.admin.copies import build_copy_commands
from conduit_py.service.admin.emergency import EmergencyAccess
from conduit_py.service.admin.obeying import Obeying
from conduit_py.service.admin.operating import Operated, build_operating_commands
from conduit_py.service.admin.registration import build_registration_commands
from conduit_py.service.admin.reports import build_report_commands
from conduit_py.service.admin.roles import build_device_commands, build_role_commands
from conduit_py.service.admin.room import AdminRoom
from conduit_py.service.admin.server import build_server_commands
from conduit_py.service.appservices.registrations import AppServiceRegistrations
from conduit_py.service.media.build import MediaServices
from conduit_py.service.users.build import Accounts
from conduit_py.service.users.store import Store

RUN_ID_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """What the rest of the server needs of it."""

    dispatcher: Dispatcher
    room: AdminRoom
    obeying: Obeying
    emergency: EmergencyAccess

    @property
    def tasks(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        return (self.obeying.run,)

    async def prepare(self) -> None:
        """Before anybody is served."""
        await self.room.prepare()
        await self.emergency.settle(self.room.user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commanded:
    """What commands do something with."""

    config: Config
    current: CurrentConfig
    """The same, as it is reloaded."""
    accounts: Accounts
    appservices: AppServiceRegistrations
    media: MediaServices
    operated: Operated


def build_admin(store: Store, room: AdminRoom, to: Commanded) -> Admin:
    """Everything but what looks at each event that is sent, which was there before."""
    dispatcher = _build_dispatcher(store, room, to)
    accounts, password = to.accounts, to.config.emergency_password
    return Admin(
        dispatcher=dispatcher,
        room=room,
        obeying=Obeying(store, room, dispatcher),
        emergency=EmergencyAccess(store, accounts.passwords, accounts.sessions, password),
    )


def _build_dispatcher(store: Store, room: AdminRoom, to: Commanded) -> Dispatcher:
    config, accounts = to.config, to.accounts
    tools = AccountTools(
        store=store,
        server_name=ServerName(config.server_name),
        accounts=accounts,
        settle=room.settle,
        purge_media=to.media.removal.remove_uploads,
    )
    return Dispatcher(
        {
            "Accounts": build_account_commands(tools),
            "Administrators": build_role_commands(tools),
            "Devices": build_device_commands(tools),
            "Registration": build_registration_commands(store, accounts.gate, accounts.registration_tokens),
            "Application services": build_appservice_commands(to.appservices),
            "Reports": build_report_commands(store, accounts.reports),
            **build_operating_commands(config, store, to.operated, to.media),
            "Server": build_server_commands(to.current, store),
            "Copies": build_copy_commands(config),
        },
        new_id=lambda: secrets.token_hex(RUN_ID_BYTES),
    )
