"""Making accounts: who may, under which name, and who becomes the administrator.

The first account is the administrator's. Whether there has been one is a stored fact and no count of accounts, so two
people who register at once do not both become it. Until then a one-time token, told to whoever started the server,
always opens registration; it is used up in the batch that makes the account.

Spec: client-server-api/#account-registration
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from conduit_py.config import Config
from conduit_py.data import account_data, profiles, tokens, user_directory, users
from conduit_py.data.apart import PUSH_RULES
from conduit_py.data.user_directory import name_words
from conduit_py.log import get_logger
from conduit_py.matrix.ids import Malformed, ServerName, UserId, check_new_localpart
from conduit_py.matrix.push.edit import NO_CHANGES
from conduit_py.service.errors import Forbidden, MatrixError, MissingParam
from conduit_py.service.requester import Requester
from conduit_py.service.users import uia
from conduit_py.service.users.guests import stage_upgraded
from conduit_py.service.users.identities import LOGIN_TYPE, Identities
from conduit_py.service.users.names import (
    RESERVED_LOCALPARTS,
    new_username,
    parse_new_username,
    user_in_use,
)
from conduit_py.service.users.passwords import Passwords
from conduit_py.service.users.push_rules import store_rules
from conduit_py.service.users.registration_gate import RegistrationGate
from conduit_py.service.users.registration_tokens import RegistrationTokenService
from conduit_py.service.users.sessions import NO_WISHES, DeviceRequest, Session, SessionService
from conduit_py.service.users.store import Store
from conduit_py.service.users.throttle import Throttle
from conduit_py.service.users.tokens import TokenService, account_key, new_token
from conduit_py.service.users.uia import NO_SESSION, Challenge, Proof, StageFailed, UiaService
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.account_data import GLOBAL_ROOM
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Account
from kvschema.errors import PreconditionFailed

_log = get_logger(__name__)

_OPERATION = "register"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a client asks for."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: Mapping[str, Any] | None = field(default=None, repr=False)
    type: str | None = None
    """How an application service says that it registers one of its users."""
    access_token: str | None = field(default=None, repr=False)
    """That came with the request."""
    guest_access_token: str | None = field(default=None, repr=False)
    """Of the guest whose account is to become a full one."""
    wants_session: bool = True
    device: DeviceRequest = NO_WISHES


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account about to be made."""

    user_id: UserId
    password_hash: str
    is_guest: bool = False
    is_of_appservice: bool = False
    is_admin: bool = False
    admin_token_hash: bytes | None = None
    """Of the one-time token it was asked for with."""
    registration_token: str | None = None
    """One of an administrator's making it was asked for with."""
    proof: Proof = NO_SESSION
    guest: ShortUserId | None = None
    """Whose account becomes this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    user_id: UserId
    session: Session | None
    is_admin: bool = False


NoteAdmin = Callable[[], Awaitable[None]]
"""Told when an administrator was made, before whoever registered is answered."""


async def note_no_admin() -> None:
    """For a server without an Admin Room."""


class RegisterService:
    """One per server."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        sessions: SessionService,
        token_service: TokenService,
        passwords: Passwords,
        uia_service: UiaService,
        registration_tokens: RegistrationTokenService,
        throttle: Throttle,
        identities: Identities,
        gate: RegistrationGate,
        note_admin: NoteAdmin = note_no_admin,
    ) -> None:
        self._gate = gate
        self._note_admin = note_admin
        self._config = config
        self._server_name = ServerName(config.server_name)
        self._store = store
        self._sessions = sessions
        self._tokens = token_service
        self._passwords = passwords
        self._uia = uia_service
        self._registration_tokens = registration_tokens
        self._throttle = throttle
        self._identities = identities

    async def prepare_first_admin(self) -> str | None:
        """A fresh one-time token for the administrator's account, to be told to whoever starts the server.

        None once there has been an administrator. Each start makes a new token: the old one cannot be told again.
        """
        with self._store.snapshot() as snapshot:
            if users.is_admin_made(snapshot):
                return None
        if self._is_open and not self._config.require_admin_token:
            _log.warning(
                "registration is open and there is no administrator yet: whoever registers first becomes it. "
                "Register now, or set require_admin_token"
            )
        token = new_token()
        async with self._store.writer.turn() as turn:
            users.stage_admin_token_hash(turn, tokens.hash_token(token))
        return token

    def check_username(self, username: str) -> UserId:
        """The user id a new user would get. Raises ``M_INVALID_USERNAME``, ``M_EXCLUSIVE``, ``M_USER_IN_USE``."""
        user_id = parse_new_username(username, self._server_name)
        self._identities.appservices.check_user(user_id)
        if username.lower() in RESERVED_LOCALPARTS:
            raise user_in_use()
        with self._store.snapshot() as snapshot:
            if users.get_local(snapshot, user_id) is not None:
                raise user_in_use()
        return user_id

    def _check_asked_username(self, asked: Registration) -> UserId:
        if asked.username is None:
            return parse_new_username(new_username(), self._server_name)
        return self.check_username(asked.username)

    def _find_guest(self, asked: Registration) -> Requester | None:
        """The guest who asks for a full account. Raises ``Forbidden``, ``UnknownToken``.

        Spec: client-server-api/#guest-access
        """
        if asked.guest_access_token is None:
            return None
        guest = self._tokens.authenticate(asked.guest_access_token)
        if not guest.is_guest or asked.username is None:
            raise Forbidden("Only a guest can become a user, and has to say under which name")
        if parse_new_username(asked.username, self._server_name) != guest.user_id:
            raise Forbidden("A guest becomes a user under the name that the guest has")
        return guest

    def is_registration_token(self, token: str) -> bool:
        """Would the token let somebody register now? Raises ``Forbidden`` where no token ever would."""
        if not self._takes_tokens():
            raise Forbidden("Registration with a token is not enabled")
        return (
            self._is_configured_token(token)
            or tokens.hash_token(token) == self._get_admin_token_hash()
            or self._registration_tokens.is_valid(token)
        )

    def check_token(self, token: str) -> str:
        """Raises ``StageFailed``. Returns the token if an account is to be counted for it, nothing otherwise."""
        if not self.is_registration_token(token):
            raise StageFailed("The registration token is not valid")
        return "" if self._is_configured_token(token) else token

    async def register(self, asked: Registration) -> Registered:
        """Make an account once the client has authenticated. Raises ``UiaRequired`` until then.

        Raises also ``Forbidden`` where registration is closed, what ``check_username`` raises, ``MissingParam``.
        """
        if asked.type == LOGIN_TYPE:
            return await self._register_for_appservice(asked)
        flows = self.get_flows()
        if not flows:
            raise Forbidden("Registration is disabled")
        guest = self._find_guest(asked)
        user_id = guest.user_id if guest is not None else self._check_asked_username(asked)
        if asked.auth is not None:
            self._throttle(("registration", asked.device.address))
        used: list[str] = []

        async def verify_token(auth: Mapping[str, Any]) -> None:
            token = auth.get("token")
            used.append(self.check_token(token if isinstance(token, str) else ""))

        challenge = Challenge(
            operation=_OPERATION,
            flows=flows,
            stages={uia.DUMMY: uia.verify_dummy, uia.REGISTRATION_TOKEN: verify_token},
        )
        proof = await self._uia.require(asked.auth, challenge)
        if asked.password is None:
            raise MissingParam("A password is needed")
        self._passwords.check_new(asked.password)
        # The token is the last stage of every flow that has it: it was given in this very request, or on a page.
        token = used[0] if used else proof.row.token if proof.row is not None else ""
        is_made_by_admin = bool(token) and self._registration_tokens.is_valid(token)
        account = NewAccount(
            user_id=user_id,
            password_hash=await self._passwords.hash(asked.password),
            guest=None if guest is None else guest.user,
            admin_token_hash=None if not token or is_made_by_admin else tokens.hash_token(token),
            registration_token=token if is_made_by_admin else None,
            proof=proof,
        )
        return await self._make(account, asked.device if asked.wants_session else None)

    async def register_guest(self, device: DeviceRequest) -> Registered:
        """Make an account that nobody can log in to again.

        Spec: client-server-api/#guest-access
        """
        if not self._config.allow_guest_registration:
            raise MatrixError("Guests are not welcome here", errcode="M_GUEST_ACCESS_FORBIDDEN", status=403)
        self._throttle(("registration", device.address))
        user_id = parse_new_username(new_username(), self._server_name)
        return await self._make(NewAccount(user_id=user_id, password_hash="", is_guest=True), device)

    async def _register_for_appservice(self, asked: Registration) -> Registered:
        """Make an account without a password for whoever owns its name, also where registration is closed.

        Spec: application-service-api/#server-admin-style-permissions
        """
        appservice = self._identities.require_appservice(asked.access_token)
        if asked.username is None:
            raise MissingParam("The user name is missing")
        user_id = _parse_owned_username(asked.username, self._server_name)
        self._identities.appservices.check_user(user_id, appservice)
        account = NewAccount(user_id=user_id, password_hash="", is_of_appservice=True)
        return await self._make(account, asked.device if asked.wants_session else None)

    async def make_senders(self) -> None:
        """Make the accounts that application services act as by themselves, where they are missing."""
        for appservice in self._identities.appservices:
            user_id = _parse_owned_username(appservice.sender_localpart, self._server_name)
            with self._store.snapshot() as snapshot:
                is_there = users.get_local(snapshot, user_id) is not None
            if not is_there:
                await self._make(NewAccount(user_id=user_id, password_hash="", is_of_appservice=True), None)

    async def create_account(self, username: str, password: str | None, *, is_admin: bool = False) -> UserId:
        """Make an account on an administrator's behalf. Without a password nobody can log in to it.

        Raises what ``check_username`` raises.
        """
        user_id = self.check_username(username)
        if password is not None:
            self._passwords.check_new(password)
        password_hash = "" if password is None else await self._passwords.hash(password)
        await self._make(NewAccount(user_id=user_id, password_hash=password_hash, is_admin=is_admin), None)
        return user_id

    async def _make(self, account: NewAccount, device: DeviceRequest | None) -> Registered:
        # A guest's account is changed, and not made, so nothing else may change it meanwhile.
        key = ("name", account.user_id) if account.guest is None else account_key(account.guest)
        async with self._store.locks.hold(key):
            while True:
                try:
                    registered = await self._try_make(account, device)
                    break
                except PreconditionFailed:
                    # Somebody else became the administrator, or used the session, between our read and our turn.
                    continue
        if registered.is_admin:
            await self._note_admin()
        return registered

    async def _try_make(self, account: NewAccount, device: DeviceRequest | None) -> Registered:
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                is_admin = self._stage_first_admin(snapshot, turn, account) or account.is_admin
                user = self._stage_account(snapshot, turn, account, is_admin=is_admin)
                account.proof.stage_used(snapshot, turn)
                self._stage_token_used(snapshot, turn, account)
                session = None
                if device is not None:
                    session = self._sessions.stage_opened(snapshot, turn, account.user_id, user, device)
            if is_admin:
                turn.on_landed(lambda: _log.warning("made an administrator", user_id=account.user_id))
        return Registered(user_id=account.user_id, session=session, is_admin=is_admin)

    def _stage_first_admin(self, snapshot: Snapshot, turn: Turn, account: NewAccount) -> bool:
        """Does this account become the first administrator? Notes it if so."""
        token_hash = account.admin_token_hash
        if token_hash is not None and users.get_admin_token_hash(snapshot) != token_hash:
            raise Forbidden("The registration token was used already")
        if account.is_guest or account.is_of_appservice or users.is_admin_made(snapshot):
            return False
        if token_hash is None and self._config.require_admin_token and not account.is_admin:
            return False
        users.stage_admin_made(turn, token_hash)
        return True

    def _stage_token_used(self, snapshot: Snapshot, turn: Turn, account: NewAccount) -> None:
        token = account.registration_token
        if token is not None and not self._registration_tokens.stage_used(snapshot, turn, token):
            raise Forbidden("The registration token is not valid any more")

    def _stage_account(self, snapshot: Snapshot, turn: Turn, account: NewAccount, *, is_admin: bool) -> ShortUserId:
        if account.guest is not None:
            stage_upgraded(snapshot, turn, account.guest, account.password_hash, is_admin=is_admin)
            return account.guest
        if users.get_local(snapshot, account.user_id) is not None:
            raise user_in_use()
        user = self._store.ids.intern_user(snapshot, turn, account.user_id)
        row = Account(account.password_hash, self._store.now_ms(), is_admin=is_admin, is_guest=account.is_guest)
        users.stage_new_account(turn, user, row)
        localpart = account.user_id[1:].partition(":")[0]
        bolt = " ⚡️" if self._config.enable_lightning_bolt else ""
        profiles.stage_field(turn, user, "displayname", localpart + bolt)
        user_directory.stage_words(turn, user, frozenset(), name_words(account.user_id, localpart + bolt))
        account_data.stage_content(snapshot, turn, user, GLOBAL_ROOM, PUSH_RULES, store_rules(NO_CHANGES))
        return user

    def reconfigure(self, config: Config) -> None:
        """Open or closed, and with which token, from now on."""
        self._config = config
        self._gate.reconfigure(config)

    @property
    def _is_open(self) -> bool:
        return self._gate.is_open or self._has_configured_token

    def get_flows(self) -> list[uia.Stages]:
        """What it takes to register now; nothing where registration is closed."""
        flows: list[uia.Stages] = []
        if self._takes_tokens():
            flows.append((uia.REGISTRATION_TOKEN,))
        if self._gate.is_open and self._config.registration_token is None:
            flows.append((uia.DUMMY,))
        return flows

    def _takes_tokens(self) -> bool:
        return (
            self._has_configured_token
            or self._get_admin_token_hash() is not None
            or self._registration_tokens.has_tokens()
        )

    @property
    def _has_configured_token(self) -> bool:
        """Is there a token in the configuration that is good now?"""
        return self._config.registration_token is not None and not self._gate.is_closed

    def _get_admin_token_hash(self) -> bytes | None:
        with self._store.snapshot() as snapshot:
            return users.get_admin_token_hash(snapshot)

    def _is_configured_token(self, token: str) -> bool:
        configured = self._config.registration_token
        is_it = configured is not None and hmac.compare_digest(configured.encode(), token.encode())
        return is_it and not self._gate.is_closed


def _parse_owned_username(username: str, server_name: ServerName) -> UserId:
    """Those of application services may begin with ``_``. Raises ``M_INVALID_USERNAME``."""
    try:
        return check_new_localpart(username, server_name)
    except Malformed as error:
        raise MatrixError(str(error), errcode="M_INVALID_USERNAME", status=400) from None
