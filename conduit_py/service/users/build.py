"""Builds the account services in dependency order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from conduit_py.config import Config
from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.federation import Fetcher
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.users.account_data import AccountDataService
from conduit_py.service.users.auth_pages import AuthPages
from conduit_py.service.users.change_password import ChangePasswordService
from conduit_py.service.users.contacts import ContactService
from conduit_py.service.users.deactivate import DeactivationService, LeaveRoom
from conduit_py.service.users.devices import DeviceService
from conduit_py.service.users.filters import FilterService
from conduit_py.service.users.identities import Identities
from conduit_py.service.users.last_seen import LastSeen
from conduit_py.service.users.login import LoginService
from conduit_py.service.users.login_tokens import LoginTokenService
from conduit_py.service.users.moderation import ModerationService
from conduit_py.service.users.mutual_rooms import MutualRoomService
from conduit_py.service.users.openid import OpenIdService
from conduit_py.service.users.password_links import PasswordLinks
from conduit_py.service.users.passwords import Passwords
from conduit_py.service.users.profile import ProfileService, PropagateProfile
from conduit_py.service.users.profile_reads import ProfileReads
from conduit_py.service.users.push_rules import PushRuleService
from conduit_py.service.users.reauth import Reauthentication
from conduit_py.service.users.register import NoteAdmin, RegisterService, note_no_admin
from conduit_py.service.users.registration_gate import RegistrationGate
from conduit_py.service.users.registration_tokens import RegistrationTokenService
from conduit_py.service.users.reports import NoteReport, ReportService, note_no_report
from conduit_py.service.users.sessions import DeviceObserver, SessionService, Wake
from conduit_py.service.users.store import Store
from conduit_py.service.users.throttle import Throttle
from conduit_py.service.users.tokens import TokenService
from conduit_py.service.users.turn import TurnService
from conduit_py.service.users.uia import UiaService
from conduit_py.service.users.user_directory import UserDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The account services of one server, for whoever composes it. Services take the few they need, never this."""

    account_data: AccountDataService
    auth_pages: AuthPages
    change_password: ChangePasswordService
    contacts: ContactService
    deactivation: DeactivationService
    devices: DeviceService
    filters: FilterService
    gate: RegistrationGate
    identities: Identities
    last_seen: LastSeen
    login: LoginService
    login_tokens: LoginTokenService
    moderation: ModerationService
    mutual_rooms: MutualRoomService
    openid: OpenIdService
    password_links: PasswordLinks
    passwords: Passwords
    profile: ProfileService
    profile_reads: ProfileReads
    push_rules: PushRuleService
    reauth: Reauthentication
    register: RegisterService
    registration_tokens: RegistrationTokenService
    reports: ReportService
    sessions: SessionService
    tokens: TokenService
    turn: TurnService
    uia: UiaService
    user_directory: UserDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the account services are given by the rest of the server."""

    fetcher: Fetcher
    wake: Wake
    propagate_profile: PropagateProfile
    leave_room: LeaveRoom
    throttle: Throttle
    appservices: AppServices
    device_observers: Sequence[DeviceObserver] = ()
    hash_limiter: trio.CapacityLimiter | None = None
    """See ``Passwords``."""
    note_admin: NoteAdmin = note_no_admin
    note_report: NoteReport = note_no_report


def build_accounts(config: Config, store: Store, around: Surroundings) -> Accounts:
    """Every account service. Each that has a ``run`` is owned by the nursery tree."""
    server_name = ServerName(config.server_name)
    passwords = Passwords(config.password_hash, around.hash_limiter)
    tokens = TokenService(store, ttl_ms=None if config.access_token_ttl is None else config.access_token_ttl * 1000)
    sessions = SessionService(store, tokens, wake=around.wake, observers=around.device_observers)
    uia = UiaService(store)
    profile = ProfileService(store, around.throttle, propagate=around.propagate_profile)
    reauth = Reauthentication(server_name, store, uia, passwords, around.throttle)
    login_tokens = LoginTokenService(store, reauth)
    registration_tokens = RegistrationTokenService(store)
    gate = RegistrationGate(store, config)
    identities = Identities(store, around.appservices)
    register = RegisterService(
        config,
        store,
        sessions=sessions,
        token_service=tokens,
        passwords=passwords,
        uia_service=uia,
        registration_tokens=registration_tokens,
        throttle=around.throttle,
        identities=identities,
        gate=gate,
        note_admin=around.note_admin,
    )
    return Accounts(
        account_data=AccountDataService(store, wake=around.wake),
        auth_pages=AuthPages(uia, reauth, register, around.throttle),
        change_password=ChangePasswordService(store, sessions, passwords, reauth),
        contacts=ContactService(),
        deactivation=DeactivationService(store, sessions, reauth, leave_room=around.leave_room),
        devices=DeviceService(store, sessions, reauth),
        filters=FilterService(store),
        gate=gate,
        identities=identities,
        last_seen=LastSeen(store),
        login=LoginService(
            server_name,
            store,
            sessions=sessions,
            passwords=passwords,
            login_tokens=login_tokens,
            identities=identities,
            throttle=around.throttle,
        ),
        login_tokens=login_tokens,
        moderation=ModerationService(server_name, store, wake=around.wake),
        mutual_rooms=MutualRoomService(store),
        passwords=passwords,
        password_links=PasswordLinks(store, sessions, passwords, around.throttle, base_url=config.well_known.client),
        openid=OpenIdService(store, ttl_s=config.openid_token_ttl),
        profile=profile,
        profile_reads=ProfileReads(profile, around.fetcher, server_name=server_name, now_ms=store.now_ms),
        push_rules=PushRuleService(store, wake=around.wake),
        reauth=reauth,
        register=register,
        registration_tokens=registration_tokens,
        reports=ReportService(store, note_report=around.note_report),
        sessions=sessions,
        tokens=tokens,
        turn=TurnService(config.turn, now_ms=store.now_ms),
        uia=uia,
        user_directory=UserDirectory(store),
    )
