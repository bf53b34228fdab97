"""What administrators may know of accounts and do to them: looking at sessions, locking, suspending.

Spec: client-server-api/#server-administration, client-server-api/#account-moderation
"""

from __future__ import annotations

from typing import Any, Literal

from conduit_py.data import devices, users
from conduit_py.matrix.house import is_server_user
from conduit_py.matrix.ids import ServerName, UserId, parse_user_id, server_name_of
from conduit_py.service.errors import Forbidden, InvalidParam, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.users.sessions import Wake
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import account_key
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Account

Restriction = Literal["is_locked", "is_suspended"]
"""What is done to an account, as its row names it."""


class ModerationService:
    """One per server."""

    def __init__(self, server_name: ServerName, store: Store, *, wake: Wake) -> None:
        self._server_name = server_name
        self._store = store
        self._wake = wake

    def get_sessions(self, requester: Requester, user_id: str) -> dict[str, Any]:
        """The devices of a user with where they were last seen. Raises ``Forbidden``, ``NotFound``.

        Users may look at themselves, administrators at everybody of this server.
        """
        if user_id != requester.user_id:
            requester.require_admin()
        with self._store.snapshot() as snapshot:
            found = users.get_local(snapshot, UserId(user_id))
            if found is None:
                raise NotFound("There is no such account")
            seen = {
                device_id: {
                    "sessions": [
                        {"connections": [{"ip": device.last_seen_ip, "last_seen": device.last_seen_ms}]},
                    ]
                }
                for device_id, device in devices.scan_devices(snapshot, found[0])
            }
        return {"user_id": user_id, "devices": seen}

    def is_restricted(self, requester: Requester, user_id: str, restriction: Restriction) -> bool:
        """Raises ``Forbidden``, ``InvalidParam`` for users of other servers, ``NotFound``, ``Malformed``."""
        requester.require_admin()
        with self._store.snapshot() as snapshot:
            _, account = self._require_account(snapshot, user_id)
        if account.is_admin and user_id != requester.user_id:
            raise _is_admin()
        return _is(account, restriction)

    async def restrict(self, requester: Requester, user_id: str, restriction: Restriction, *, is_on: bool) -> None:
        """Lock or suspend an account, or lift that. Raises as ``is_restricted`` does, and for oneself."""
        requester.require_admin()
        with self._store.snapshot() as snapshot:
            user, _ = self._require_account(snapshot, user_id)
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                _, account = self._require_account(snapshot, user_id)
            if account.is_admin:
                raise _is_admin()
            if _is(account, restriction) != is_on:
                users.stage_account(turn, user, _restricted(account, restriction, is_on=is_on))
                turn.on_landed(lambda: self._wake([user]))

    def _require_account(self, snapshot: Snapshot, user_id: str) -> tuple[ShortUserId, Account]:
        parsed = parse_user_id(user_id)
        if server_name_of(parsed) != self._server_name:
            raise InvalidParam("The user does not belong to this server")
        found = users.get_local(snapshot, parsed)
        if found is None or found[1].is_deactivated:
            raise NotFound("There is no such account")
        if is_server_user(parsed):
            raise Forbidden("This is the server's own account")
        return found


def _is(account: Account, restriction: Restriction) -> bool:
    match restriction:
        case "is_locked":
            return account.is_locked
        case "is_suspended":
            return account.is_suspended


def _restricted(account: Account, restriction: Restriction, *, is_on: bool) -> Account:
    match restriction:
        case "is_locked":
            return account._replace(is_locked=is_on)
        case "is_suspended":
            return account._replace(is_suspended=is_on)


def _is_admin() -> Forbidden:
    return Forbidden("Administrators cannot be locked or suspended")
