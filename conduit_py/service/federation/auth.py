"""Which server sent a request.

Spec: server-server-api/#request-authentication
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

import trio

from conduit_py.matrix.canonical_json import parse_json
from conduit_py.matrix.ids import Malformed, ServerName
from conduit_py.matrix.signing import InvalidSignature, VerifyKey
from conduit_py.matrix.x_matrix import XMatrix, is_x_matrix, parse_x_matrix, verify_request
from conduit_py.service.errors import Forbidden, MatrixError, TooLarge
from conduit_py.service.federation.keys import KeyRing

IN_PLACE_BYTES_MAX: Final = 64 * 1024
"""Larger bodies are parsed, and written again to be verified, in a thread: 10 ms for each MiB, and more."""
VALUES_MAX: Final = 2_200_000
"""Commas and opening brackets in a body: what 50 events of 64 KiB have that are all empty lists. A value may take
twenty times as much memory as it takes bytes."""
THREADS_MAX: Final = 1

Content = dict[str, Any] | None
"""A JSON object, None for no body."""


class Unauthorized(MatrixError):
    """The request does not prove which server it comes from."""

    errcode, status = "M_UNAUTHORIZED", 401


class NotJson(MatrixError):
    """The body is not JSON, so nothing can be signed."""

    errcode, status = "M_NOT_JSON", 400


class RequestVerifier:
    """One per server.

    :param throttle: told of each request, of its address and then of its origin; may raise.
    """

    def __init__(
        self,
        keys: KeyRing,
        *,
        server_name: ServerName,
        is_forbidden: Callable[[ServerName], bool],
        is_allowed: bool,
        throttle: Callable[[tuple[str, Hashable]], None],
        now_ms: Callable[[], int],
        has_threads: bool,
    ) -> None:
        self._keys = keys
        self._server_name = server_name
        self._is_forbidden = is_forbidden
        self._is_allowed = is_allowed
        self._throttle = throttle
        self._now_ms = now_ms
        self._has_threads = has_threads
        self._limiter = trio.CapacityLimiter(THREADS_MAX)

    def require_allowed(self) -> None:
        """Raises ``Forbidden`` while this server keeps to itself."""
        if not self._is_allowed:
            raise Forbidden("This server does not talk with other servers")

    def throttle_address(self, address: str) -> None:
        """Count a request of whoever is there. Raises ``LimitExceeded``."""
        self._throttle(("federation", address))

    async def verify(
        self, authorization: Sequence[str], *, method: str, uri: str, body: bytes
    ) -> tuple[ServerName, Content]:
        """The server that signed the request, and what is in it, its numbers exactly as they came.

        :param authorization: values of the header. Of several, the first of our scheme counts.
        :param uri: path and query as they came.
        Raises ``Unauthorized``, ``Forbidden``, ``NotJson``, ``TooLarge`` and ``LimitExceeded``.
        """
        self.require_allowed()
        header = self._parse(authorization)
        if self._is_forbidden(header.origin):
            raise Forbidden(f"{header.origin} may not talk with this server")
        now_ms = self._now_ms()
        keys = await self._keys.fetch_keys(header.origin, [header.key_id], minimum_valid_until_ts=now_ms)
        key = keys.get(header.key_id)
        if key is None:
            raise Unauthorized(f"The key {header.key_id} of {header.origin} cannot be found")
        if not key.may_sign_request(now_ms):
            raise Unauthorized(f"The key {header.key_id} of {header.origin} is not valid any more")

        def read() -> Content:
            return _read(header, method=method, uri=uri, destination=self._server_name, body=body, key=key)

        if len(body) > IN_PLACE_BYTES_MAX and self._has_threads:
            content = await trio.to_thread.run_sync(read, limiter=self._limiter)
        else:
            content = read()
        # Not before: who only claims to be a server must not use up what it may send.
        self._throttle(("federation", header.origin))
        return header.origin, content

    def _parse(self, authorization: Sequence[str]) -> XMatrix:
        ours = next(filter(is_x_matrix, authorization), None)
        if ours is None:
            raise Unauthorized("Missing X-Matrix authorization header")
        try:
            header = parse_x_matrix(ours)
        except Malformed as error:
            raise Unauthorized(f"Malformed authorization header: {error}") from None
        if header.destination is not None and header.destination != self._server_name:
            raise Unauthorized("The request is meant for another server")
        if header.origin == self._server_name:
            raise Unauthorized("The request claims to come from this server")
        return header


def _read(header: XMatrix, *, method: str, uri: str, destination: ServerName, body: bytes, key: VerifyKey) -> Content:
    content = _parse_content(body)
    try:
        verify_request(header, method=method, uri=uri, destination=destination, content=content, key=key)
    except InvalidSignature as error:
        raise Unauthorized(f"The request is not signed as it says: {error}") from None
    return content


def _parse_content(body: bytes) -> Content:
    if not body:
        return None
    if body.count(b",") + body.count(b"[") + body.count(b"{") > VALUES_MAX:
        raise TooLarge("There are too many values in the body")
    try:
        content = parse_json(body)
    except Malformed as error:
        raise NotJson(f"The body is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise MatrixError("The body is not a JSON object", errcode="M_BAD_JSON", status=400)
    return content
