"""Who asks: the authenticated caller of an operation."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.matrix.ids import DeviceId, UserId
from conduit_py.service.errors import Forbidden, MatrixError
from kvschema.catalog.rooms import ShortUserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """A local user on one of their devices, or an application service as one of its users."""

    user_id: UserId
    user: ShortUserId
    device_id: DeviceId | None
    """None only for application services, which need no device."""
    is_admin: bool = False
    is_guest: bool = False
    is_suspended: bool = False
    appservice_id: str | None = None
    is_limited: bool = True
    """False only for application services that may do things as often as they like."""

    asserted_ts_ms: int | None = None
    """When what is sent happened, if it did not happen now: an application service may say so."""

    @property
    def limited_as(self) -> UserId | None:
        """What the requester's attempts are counted under, None if they are not."""
        return self.user_id if self.is_limited else None

    def require_not_suspended(self) -> None:
        """Before anything a suspended user may not do. Raises ``M_USER_SUSPENDED``.

        Spec: client-server-api/#account-suspension
        """
        if self.is_suspended:
            raise MatrixError("You cannot perform this action while suspended.", errcode="M_USER_SUSPENDED", status=403)

    def require_admin(self) -> None:
        """Raises ``Forbidden`` unless the requester administers this server."""
        if not self.is_admin:
            raise Forbidden("Only administrators of this server may do this")

    def require_self(self, user_id: str, what: str) -> None:
        """Raises ``Forbidden`` if ``user_id`` is somebody else. ``what`` completes "You cannot ... of other users"."""
        if user_id != self.user_id:
            raise Forbidden(f"You cannot {what} of other users")
