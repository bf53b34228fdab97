"""Stages of an authentication that are completed on a page, for clients that do not know them.

The page is opened with the session that the client was given; afterwards the client asks again with that session alone.

Spec: client-server-api/#fallback
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conduit_py.matrix.ids import UserId
from conduit_py.service.errors import NotFound
from conduit_py.service.users import uia
from conduit_py.service.users.reauth import FLOWS, Reauthentication
from conduit_py.service.users.register import RegisterService
from conduit_py.service.users.throttle import Throttle
from conduit_py.service.users.uia import Stages, UiaService, is_next
from kvschema.catalog.users import UiaSession


class AuthPages:
    """One per server."""

    def __init__(
        self, uia_service: UiaService, reauth: Reauthentication, register: RegisterService, throttle: Throttle
    ) -> None:
        self._uia = uia_service
        self._reauth = reauth
        self._register = register
        self._throttle = throttle

    def is_completed(self, session: str, stage: str) -> bool:
        """Is nothing left to do on the page? Raises ``NotFound`` where the session does not ask for the stage."""
        return stage in self._require(session, stage).completed

    async def complete(self, session: str, stage: str, given: Mapping[str, str], address: str) -> None:
        """Complete a stage with what was typed. Raises ``StageFailed``, ``NotFound``, ``LimitExceeded``."""
        row = self._require(session, stage)
        if stage in row.completed:
            return
        token = ""
        if stage == uia.PASSWORD:
            await self._reauth.check_password(UserId(row.user_id), given.get("password", ""))
        elif stage == uia.REGISTRATION_TOKEN:
            self._throttle(("registration", address))
            token = self._register.check_token(given.get("token", ""))
        await self._uia.note_completed(session, row, stage, token=token)

    def _require(self, session: str, stage: str) -> UiaSession:
        row = self._uia.get_pending(session)
        if row is None:
            raise NotFound("There is no such authentication, or it took too long")
        # Whoever has an account proves it with the password; without one, all there is to do is to register.
        flows: Sequence[Stages] = FLOWS if row.user_id else self._register.get_flows()
        if stage not in row.completed and not is_next(flows, row.completed, stage):
            raise NotFound("This is not what the authentication asks for")
        return row
