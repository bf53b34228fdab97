"""Which server sent a request.

Spec: server-server-api/#request-authentication
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, TypeVar

from conduit_py.http.request import Network, Request
from conduit_py.matrix.ids import ServerName
from conduit_py.service.federation.auth import RequestVerifier

BODY_BYTES_MAX: Final = 1024 * 1024
"""For questions about thousands of devices."""

T = TypeVar("T")


class ServerAuthenticator:
    """One per server.

    :param heard_from: told of every server that a verified request came from.
    """

    def __init__(
        self, verifier: RequestVerifier, trusted_proxies: Collection[Network], heard_from: Callable[[ServerName], None]
    ) -> None:
        self._verifier = verifier
        self._heard_from = heard_from
        self._trusted_proxies = trusted_proxies

    async def require_server(self, request: Request, *, bytes_max: int = BODY_BYTES_MAX) -> ServerName:
        """The server that signed the request; its whole body is read for that.

        Raises what ``require_signed`` raises.
        """
        origin, _ = await self.require_signed(request, bytes_max=bytes_max)
        return origin

    async def require_signed(
        self, request: Request, *, bytes_max: int = BODY_BYTES_MAX
    ) -> tuple[ServerName, dict[str, Any] | None]:
        """The server that signed the request, and the JSON object that it sent; None for no body.

        Raises ``M_UNAUTHORIZED``, ``M_FORBIDDEN``, ``M_NOT_JSON``, ``M_BAD_JSON``, ``M_TOO_LARGE`` and
        ``M_LIMIT_EXCEEDED``.
        """
        return await self._require(request, self._verifier.verify, bytes_max)

    async def require_signed_text(self, request: Request, *, bytes_max: int) -> tuple[ServerName, bytes]:
        """The same with the body as it was signed, which may be no JSON."""
        return await self._require(request, self._verifier.verify_text, bytes_max)

    async def _require(
        self, request: Request, verify: Callable[..., Awaitable[tuple[ServerName, T]]], bytes_max: int
    ) -> tuple[ServerName, T]:
        self._verifier.require_allowed()
        address = request.client_address(self._trusted_proxies)
        self._verifier.throttle_address(address)
        body = await request.get_data(bytes_max=bytes_max)
        authorization = request.headers.getlist("authorization")
        origin, content = await verify(
            authorization, method=request.method, uri=request.raw_uri, body=body, address=address
        )
        self._heard_from(origin)
        return origin, content

    def require_allowed(self) -> None:
        """Raises ``Forbidden`` while this server keeps to itself."""
        self._verifier.require_allowed()

    def throttle(self, request: Request) -> None:
        """Count a request for which no server has to vouch. Raises ``LimitExceeded``."""
        self._verifier.throttle_address(request.client_address(self._trusted_proxies))
