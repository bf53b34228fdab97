"""Who sent a request.

Spec: client-server-api/#using-access-tokens
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from conduit_py.http.request import Network, Request
from conduit_py.matrix.appservices import Registration
from conduit_py.service.errors import Forbidden, MatrixError, MissingToken
from conduit_py.service.requester import Requester
from conduit_py.service.users.identities import Identities, Masquerade
from conduit_py.service.users.last_seen import LastSeen
from conduit_py.service.users.tokens import TokenService

_BEARER = "bearer "
_NO_MASQUERADE = Masquerade()
_IN_ROOMS = "/rooms/"
"""Whoever writes there is around: sends, types, reads."""


class Authenticator:
    """One per server.

    :param note_activity: told of every request by which a user does something in a room.
    """

    def __init__(
        self,
        tokens: TokenService,
        identities: Identities,
        last_seen: LastSeen,
        trusted_proxies: Collection[Network],
        *,
        note_activity: Callable[[Requester], None] = lambda requester: None,
    ) -> None:
        self._note_activity = note_activity
        self._tokens = tokens
        self._identities = identities
        self._last_seen = last_seen
        self._trusted_proxies = trusted_proxies

    def require_user(self, request: Request, *, may_be_guest: bool = False, may_be_locked: bool = False) -> Requester:
        """The user whose access token came with the request, or as whom an application service makes it.

        Raises ``MissingToken``, ``UnknownToken``, ``M_USER_LOCKED`` and ``M_GUEST_ACCESS_FORBIDDEN``.
        """
        token = _require_token(request)
        requester = self._identities.find(token, _read_masquerade(request))
        if requester is not None:
            return requester
        requester = self._tokens.authenticate(token, may_be_locked=may_be_locked)
        if requester.is_guest and not may_be_guest:
            raise MatrixError("Guests may not do this", errcode="M_GUEST_ACCESS_FORBIDDEN", status=403)
        if self._last_seen.is_due(requester):
            self._last_seen.note(requester, self.client_address(request))
        if request.method != "GET" and _IN_ROOMS in request.path:
            self._note_activity(requester)
        return requester

    def find_user(self, request: Request) -> Requester | None:
        """The user, guests too, or None for a request without a token: what it may see is for the operation to say.

        Raises what ``require_user`` raises of a token that was given.
        """
        is_anonymous = "authorization" not in request.headers and not request.args.get("access_token")
        return None if is_anonymous else self.require_user(request, may_be_guest=True)

    def require_appservice(self, request: Request) -> Registration:
        """The application service that sent a request which only they may send. Raises ``Forbidden`` for users."""
        requester = self.require_user(request)
        if requester.appservice_id is None:
            raise Forbidden("Only application services may do this")
        return self._identities.require_appservice(find_token(request))

    def client_address(self, request: Request) -> str:
        """Address of the client, as far as trusted proxies tell."""
        return request.client_address(self._trusted_proxies)


def find_token(request: Request) -> str | None:
    """The access token that came with a request. Raises ``MissingToken`` for a header of another kind."""
    header = request.headers.get("authorization")
    if header is not None:
        if header[: len(_BEARER)].lower() == _BEARER:
            return header[len(_BEARER) :].strip()
        raise MissingToken("The Authorization header has no Bearer token")
    return request.args.get("access_token") or None


def _require_token(request: Request) -> str:
    token = find_token(request)
    if token is None:
        raise MissingToken("Missing access token")
    return token


def _read_masquerade(request: Request) -> Masquerade:
    if not request.query_string:
        return _NO_MASQUERADE
    device_id = request.args.get("device_id") or request.args.get("org.matrix.msc3202.device_id")
    return Masquerade(user_id=request.args.get("user_id") or None, device_id=device_id or None)
