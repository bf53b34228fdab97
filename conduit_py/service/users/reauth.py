"""Proving with one's password that one is still the person who logged in.

Spec: client-server-api/#password-based
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from conduit_py.data import users
from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.service.requester import Requester
from conduit_py.service.users import uia
from conduit_py.service.users.names import find_identified
from conduit_py.service.users.passwords import Passwords
from conduit_py.service.users.store import Store
from conduit_py.service.users.throttle import Throttle
from conduit_py.service.users.uia import NO_SESSION, Challenge, Proof, StageFailed, UiaService

FLOWS: Final = ((uia.PASSWORD,),)


class Reauthentication:
    """One per server."""

    def __init__(
        self, server_name: ServerName, store: Store, uia_service: UiaService, passwords: Passwords, throttle: Throttle
    ) -> None:
        self._server_name = server_name
        self._store = store
        self._uia = uia_service
        self._passwords = passwords
        self._throttle = throttle

    async def require(
        self,
        requester: Requester,
        auth: Mapping[str, Any] | None,
        operation: str,
        bound: Mapping[str, str] | None = None,
    ) -> Proof:
        """Have the requester give the password again. Raises ``UiaRequired`` until it is right.

        Application services have no password and are not asked for one. ``bound`` are the parameters that must not
        change on the way.
        """
        if requester.appservice_id is not None:
            return NO_SESSION

        async def verify_password(auth: Mapping[str, Any]) -> None:
            password = auth.get("password")
            if not isinstance(password, str) or not self._is_self(requester, auth):
                raise StageFailed("Wrong user name or password")
            await self.check_password(requester.user_id, password)

        challenge = Challenge(
            operation=operation,
            flows=FLOWS,
            stages={uia.PASSWORD: verify_password},
            requester=requester,
            bound=bound or {},
        )
        return await self._uia.require(auth, challenge)

    async def check_password(self, user_id: UserId, password: str) -> None:
        """Raises ``StageFailed`` for one that is not the user's."""
        self._throttle(("login", user_id))
        with self._store.snapshot() as snapshot:
            found = users.get_local(snapshot, user_id)
        if not await self._passwords.verify("" if found is None else found[1].password_hash, password):
            raise StageFailed("Wrong user name or password")

    def _is_self(self, requester: Requester, auth: Mapping[str, Any]) -> bool:
        identifier = auth.get("identifier")
        if identifier is None:
            # The old form names the user beside the password, or not at all.
            identifier = {"type": "m.id.user", "user": auth.get("user", requester.user_id)}
        with self._store.snapshot() as snapshot:
            found = find_identified(snapshot, identifier, self._server_name)
        return found is not None and found[1] == requester.user
