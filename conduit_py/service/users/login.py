"""Logging in.

A wrong password and an unknown user get the same answer after the same time.

Spec: client-server-api/#legacy-login
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from conduit_py.data import users
from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.service.errors import Forbidden, MatrixError, MissingParam
from conduit_py.service.users.identities import LOGIN_TYPE, Identities
from conduit_py.service.users.login_tokens import LoginTokenService
from conduit_py.service.users.names import find_account, find_identified
from conduit_py.service.users.passwords import Passwords
from conduit_py.service.users.sessions import NO_WISHES, DeviceRequest, Session, SessionService
from conduit_py.service.users.store import Store
from conduit_py.service.users.throttle import Throttle
from conduit_py.service.users.tokens import account_key
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Account

PASSWORD = "m.login.password"
TOKEN = "m.login.token"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """What a client says to log in."""

    type: str
    identifier: dict[str, Any] | None = None
    user: str | None = None
    """The old place of the user name, which clients still use."""
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    """That came with the request: an application service says with it who it is."""
    device: DeviceRequest = NO_WISHES


class LoginService:
    """One per server."""

    def __init__(
        self,
        server_name: ServerName,
        store: Store,
        *,
        sessions: SessionService,
        passwords: Passwords,
        login_tokens: LoginTokenService,
        identities: Identities,
        throttle: Throttle,
    ) -> None:
        self._server_name = server_name
        self._store = store
        self._sessions = sessions
        self._passwords = passwords
        self._login_tokens = login_tokens
        self._identities = identities
        self._throttle = throttle

    def get_flows(self) -> list[dict[str, Any]]:
        """The kinds of login that would be accepted."""
        return [{"type": PASSWORD}, {"type": TOKEN, "get_login_token": True}, {"type": LOGIN_TYPE}]

    async def log_in(self, asked: LoginRequest) -> Session:
        """Open a session. Raises ``Forbidden``, ``M_USER_DEACTIVATED``, ``M_USER_LOCKED``, ``LimitExceeded``.

        Application services: ``MissingToken``, ``UnknownToken`` and ``M_EXCLUSIVE`` besides.
        """
        match asked.type:
            case "m.login.password":
                user_id, user = await self._check_password_login(asked)
            case "m.login.token":
                user_id, user = await self._check_token_login(asked)
            case "m.login.application_service":
                user_id, user = self._check_appservice_login(asked)
            case _:
                raise MatrixError("This kind of login is not offered", errcode="M_UNKNOWN", status=400)
        return await self._sessions.open(user_id, user, asked.device)

    async def _check_password_login(self, asked: LoginRequest) -> tuple[UserId, ShortUserId]:
        if asked.password is None:
            raise MissingParam("The password is missing")
        self._throttle(("login", asked.device.address))
        with self._store.snapshot() as snapshot:
            found = self._find(snapshot, asked)
        if found is not None:
            self._throttle(("login", found[0]))
        is_right = await self._passwords.verify("" if found is None else found[2].password_hash, asked.password)
        if found is None or not is_right:
            raise Forbidden("Wrong user name or password")
        user_id, user, account = found
        if account.is_deactivated:
            raise MatrixError("This account has been deactivated", errcode="M_USER_DEACTIVATED", status=403)
        if self._passwords.is_outdated(account.password_hash):
            await self._rehash(user, account, asked.password)
        return user_id, user

    async def _check_token_login(self, asked: LoginRequest) -> tuple[UserId, ShortUserId]:
        if asked.token is None:
            raise MissingParam("The token is missing")
        self._throttle(("login", asked.device.address))
        return await self._login_tokens.use(asked.token)

    def _check_appservice_login(self, asked: LoginRequest) -> tuple[UserId, ShortUserId]:
        """Spec: application-service-api/#server-admin-style-permissions"""
        appservice = self._identities.require_appservice(asked.access_token)
        with self._store.snapshot() as snapshot:
            found = self._find(snapshot, asked)
        if found is None:
            raise Forbidden("There is no such user")
        self._identities.appservices.check_user(found[0], appservice)
        return found[0], found[1]

    def _find(self, snapshot: Snapshot, asked: LoginRequest) -> tuple[UserId, ShortUserId, Account] | None:
        if asked.identifier is not None:
            return find_identified(snapshot, asked.identifier, self._server_name)
        return find_account(snapshot, asked.user or "", self._server_name)

    async def _rehash(self, user: ShortUserId, verified: Account, password: str) -> None:
        """Store the password at the cost that is configured now, unless it was changed meanwhile."""
        password_hash = await self._passwords.hash(password)
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                account = users.get_account(snapshot, user)
            if account is not None and account.password_hash == verified.password_hash:
                users.stage_account(turn, user, account._replace(password_hash=password_hash))
