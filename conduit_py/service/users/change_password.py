"""Changing one's password.

Spec: client-server-api/#post_matrixclientv3accountpassword
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit_py.data import users
from conduit_py.matrix.ids import DeviceId, UserId
from conduit_py.service.errors import NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.users.passwords import Passwords
from conduit_py.service.users.reauth import Reauthentication
from conduit_py.service.users.sessions import SessionService
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import account_key
from conduit_py.service.users.uia import NO_SESSION, Proof
from kvschema.catalog.rooms import ShortUserId


class ChangePasswordService:
    """One per server."""

    def __init__(self, store: Store, sessions: SessionService, passwords: Passwords, reauth: Reauthentication) -> None:
        self._store = store
        self._sessions = sessions
        self._passwords = passwords
        self._reauth = reauth

    async def change_password(
        self, requester: Requester, new_password: str, auth: Mapping[str, Any] | None, *, logout_devices: bool
    ) -> None:
        """Raises ``UiaRequired`` until the old password was given, ``M_WEAK_PASSWORD``.

        :param logout_devices: close every other session of the requester.
        """
        self._passwords.check_new(new_password)
        proof = await self._reauth.require(requester, auth, "change_password")
        await self._store_password(
            requester.user, new_password, proof, kept=requester.device_id, logout_devices=logout_devices
        )

    async def reset_password(self, user_id: UserId, new_password: str, *, logout_devices: bool) -> None:
        """Set a password on an administrator's behalf. Raises ``NotFound``, ``M_WEAK_PASSWORD``."""
        self._passwords.check_new(new_password)
        with self._store.snapshot() as snapshot:
            found = users.get_local(snapshot, user_id)
        if found is None:
            raise NotFound("There is no such account")
        await self._store_password(found[0], new_password, NO_SESSION, kept=None, logout_devices=logout_devices)

    async def _store_password(
        self, user: ShortUserId, password: str, proof: Proof, *, kept: DeviceId | None, logout_devices: bool
    ) -> None:
        password_hash = await self._passwords.hash(password)
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                account = users.get_account(snapshot, user)
                if account is None:
                    raise NotFound("There is no such account")
                proof.stage_used(snapshot, turn)
                users.stage_account(turn, user, account._replace(password_hash=password_hash))
                if logout_devices:
                    self._sessions.stage_all_closed(snapshot, turn, user, but=kept)
