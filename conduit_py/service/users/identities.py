"""Who an application service is in a request: itself, or one of its users.

Spec: application-service-api/#identity-assertion
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conduit_py.data import devices, users
from conduit_py.matrix.appservices import Registration
from conduit_py.matrix.ids import ID_BYTES_MAX, DeviceId, UserId
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.errors import Forbidden, MatrixError, MissingToken, UnknownToken
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import user_locked

LOGIN_TYPE: Final = "m.login.application_service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Masquerade:
    """Whom a request names as who it is made by."""

    user_id: str | None = None
    device_id: str | None = None


class Identities:
    """One per server."""

    def __init__(self, store: Store, appservices: AppServices) -> None:
        self._store = store
        self.appservices = appservices

    def find(self, as_token: str, masquerade: Masquerade) -> Requester | None:
        """The application service with this token as one of its users; None for the token of none.

        Raises ``Forbidden`` for a user that is not its own or not there, and ``M_UNKNOWN_DEVICE``.
        """
        appservice = self.appservices.find_by_token(as_token)
        if appservice is None:
            return None
        sender = self.appservices.sender_of(appservice)
        user_id = sender if masquerade.user_id is None else UserId(masquerade.user_id)
        if not self.appservices.has_user(appservice, user_id):
            raise Forbidden("The application service cannot act as this user")
        with self._store.snapshot() as snapshot:
            found = users.get_local(snapshot, user_id) if len(user_id.encode()) <= ID_BYTES_MAX else None
            if found is None or found[1].is_deactivated:
                raise Forbidden("The application service has not registered this user")
            user, account = found
            device_id = masquerade.device_id
            if device_id is not None and devices.get_device(snapshot, user, device_id) is None:
                raise MatrixError("The user has no such device", errcode="M_UNKNOWN_DEVICE", status=400)
        if account.is_locked:
            raise user_locked()
        return Requester(
            user_id=user_id,
            user=user,
            device_id=None if device_id is None else DeviceId(device_id),
            is_admin=account.is_admin,
            is_suspended=account.is_suspended,
            appservice_id=appservice.id,
            is_limited=appservice.rate_limited and user_id != sender,
        )

    def require_appservice(self, as_token: str | None) -> Registration:
        """Whose token came with a request that only application services make.

        Raises ``MissingToken`` or ``UnknownToken``.
        """
        if as_token is None:
            raise MissingToken("Missing access token")
        appservice = self.appservices.find_by_token(as_token)
        if appservice is None:
            raise UnknownToken("This is the token of no application service", extra={"soft_logout": False})
        return appservice
