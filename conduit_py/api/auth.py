"""Who sent a request.

Spec: client-server-api/#using-access-tokens
"""

from __future__ import annotations

from collections.abc import Collection

from conduit_py.http.request import Network, Request
from conduit_py.service.errors import MatrixError, MissingToken
from conduit_py.service.requester import Requester
from conduit_py.service.users.last_seen import LastSeen
from conduit_py.service.users.tokens import TokenService

_BEARER = "bearer "


class Authenticator:
    """One per server. The tokens of application services are recognized here too once there are any."""

    def __init__(self, tokens: TokenService, last_seen: LastSeen, trusted_proxies: Collection[Network]) -> None:
        self._tokens = tokens
        self._last_seen = last_seen
        self._trusted_proxies = trusted_proxies

    def require_user(self, request: Request, *, may_be_guest: bool = False, may_be_locked: bool = False) -> Requester:
        """The user whose access token came with the request.

        Raises ``MissingToken``, ``UnknownToken``, ``M_USER_LOCKED`` and ``M_GUEST_ACCESS_FORBIDDEN``.
        """
        requester = self._tokens.authenticate(_require_token(request), may_be_locked=may_be_locked)
        if requester.is_guest and not may_be_guest:
            raise MatrixError("Guests may not do this", errcode="M_GUEST_ACCESS_FORBIDDEN", status=403)
        if self._last_seen.is_due(requester):
            self._last_seen.note(requester, self.client_address(request))
        return requester

    def find_user(self, request: Request) -> Requester | None:
        """The user, guests too, or None for a request without a token: what it may see is for the operation to say.

        Raises what ``require_user`` raises of a token that was given.
        """
        is_anonymous = "authorization" not in request.headers and not request.args.get("access_token")
        return None if is_anonymous else self.require_user(request, may_be_guest=True)

    def client_address(self, request: Request) -> str:
        """Address of the client, as far as trusted proxies tell."""
        return request.client_address(self._trusted_proxies)


def _require_token(request: Request) -> str:
    header = request.headers.get("authorization")
    if header is not None:
        if header[: len(_BEARER)].lower() == _BEARER:
            return header[len(_BEARER) :].strip()
        raise MissingToken("The Authorization header has no Bearer token")
    token: str | None = request.args.get("access_token")
    if not token:
        raise MissingToken("Missing access token")
    return token
