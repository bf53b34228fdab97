"""Builds the account services in dependency order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from conduit_py.config import Config
from conduit_py.matrix.ids import ServerName
from conduit_py.service.users.account_data import AccountDataService
from conduit_py.service.users.change_password import ChangePasswordService
from conduit_py.service.users.devices import DeviceService
from conduit_py.service.users.filters import FilterService
from conduit_py.service.users.last_seen import LastSeen
from conduit_py.service.users.login import LoginService
from conduit_py.service.users.passwords import Passwords
from conduit_py.service.users.profile import ProfileService, PropagateProfile
from conduit_py.service.users.push_rules import PushRuleService
from conduit_py.service.users.reauth import Reauthentication
from conduit_py.service.users.register import IsExclusive, RegisterService
from conduit_py.service.users.sessions import DeviceObserver, SessionService, Wake
from conduit_py.service.users.store import Store
from conduit_py.service.users.throttle import Throttle
from conduit_py.service.users.tokens import TokenService
from conduit_py.service.users.uia import UiaService


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The account services of one server, for whoever composes it. Services take the few they need, never this."""

    account_data: AccountDataService
    change_password: ChangePasswordService
    devices: DeviceService
    filters: FilterService
    last_seen: LastSeen
    login: LoginService
    profile: ProfileService
    push_rules: PushRuleService
    reauth: Reauthentication
    register: RegisterService
    sessions: SessionService
    tokens: TokenService
    uia: UiaService


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the account services are given by the rest of the server."""

    wake: Wake
    propagate_profile: PropagateProfile
    throttle: Throttle
    is_exclusive: IsExclusive
    device_observers: Sequence[DeviceObserver] = ()
    hash_limiter: trio.CapacityLimiter | None = None
    """See ``Passwords``."""


def build_accounts(config: Config, store: Store, around: Surroundings) -> Accounts:
    """Every account service. ``tokens.run`` and ``last_seen.run`` belong into the nursery tree."""
    server_name = ServerName(config.server_name)
    passwords = Passwords(config.password_hash, around.hash_limiter)
    tokens = TokenService(store, ttl_ms=None if config.access_token_ttl is None else config.access_token_ttl * 1000)
    sessions = SessionService(store, tokens, wake=around.wake, observers=around.device_observers)
    uia = UiaService(store)
    reauth = Reauthentication(server_name, store, uia, passwords, around.throttle)
    return Accounts(
        account_data=AccountDataService(store, wake=around.wake),
        change_password=ChangePasswordService(store, sessions, passwords, reauth),
        devices=DeviceService(store, sessions, reauth),
        filters=FilterService(store),
        last_seen=LastSeen(store),
        login=LoginService(server_name, store, sessions=sessions, passwords=passwords, throttle=around.throttle),
        profile=ProfileService(store, propagate=around.propagate_profile),
        push_rules=PushRuleService(store, wake=around.wake),
        reauth=reauth,
        register=RegisterService(
            config,
            store,
            sessions=sessions,
            passwords=passwords,
            uia_service=uia,
            throttle=around.throttle,
            is_exclusive=around.is_exclusive,
        ),
        sessions=sessions,
        tokens=tokens,
        uia=uia,
    )
