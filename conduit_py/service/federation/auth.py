"""Which server sent a request.

Spec: server-server-api/#request-authentication
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Final

import trio

from conduit_py.matrix.canonical_json import NotJson as NoJson
from conduit_py.matrix.canonical_json import encode_canonical_json, parse_json
from conduit_py.matrix.ids import Malformed, ServerName
from conduit_py.matrix.json_slices import IN_PLACE_BYTES_MAX, TooMuch, encode_in_slices, parse_in_slices
from conduit_py.matrix.signing import InvalidSignature, VerifyKey
from conduit_py.matrix.x_matrix import XMatrix, is_x_matrix, parse_x_matrix, verify_request
from conduit_py.service.errors import Forbidden, MatrixError, TooLarge
from conduit_py.service.federation.keys import KeyRing
from conduit_py.service.federation.strangers import Strangers
from conduit_py.slices import run_slices

VERIFIED_IN_PLACE_BYTES_MAX: Final = 512 * 1024
"""Signatures over more are verified in a thread: 3 ms for each MiB."""
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
        self._strangers = Strangers()

    def require_allowed(self) -> None:
        """Raises ``Forbidden`` while this server keeps to itself."""
        if not self._is_allowed:
            raise Forbidden("This server does not talk with other servers")

    def throttle_address(self, address: str) -> None:
        """Count a request of whoever is there. Raises ``LimitExceeded``."""
        self._throttle(("federation", address))

    async def verify(
        self, authorization: Sequence[str], *, method: str, uri: str, body: bytes, address: str
    ) -> tuple[ServerName, Content]:
        """The server that signed the request, and what is in it, its numbers exactly as they came.

        :param address: where it comes from.
        :param authorization: values of the header. Of several, the first of our scheme counts.
        :param uri: path and query as they came.
        Raises ``Unauthorized``, ``Forbidden``, ``NotJson``, ``TooLarge`` and ``LimitExceeded``.
        """
        origin, text, content = await self._verify(authorization, method=method, uri=uri, body=body, address=address)
        if content is None and text:
            try:
                content = _require_object(await run_slices(parse_in_slices(text)))
            except TooMuch as error:
                raise TooLarge(f"The body is more than can be read: {error}") from None
            except NoJson as error:
                raise NotJson(f"The body is not valid JSON: {error}") from None
        return origin, content

    async def verify_text(
        self, authorization: Sequence[str], *, method: str, uri: str, body: bytes, address: str
    ) -> tuple[ServerName, bytes]:
        """The same without what is in it: the body, or the same written in another way. It may be no JSON."""
        origin, text, _ = await self._verify(authorization, method=method, uri=uri, body=body, address=address)
        return origin, text

    async def _verify(
        self, authorization: Sequence[str], *, method: str, uri: str, body: bytes, address: str
    ) -> tuple[ServerName, bytes, Content]:
        self.require_allowed()
        header = self._parse(authorization)
        if self._is_forbidden(header.origin):
            raise Forbidden(f"{header.origin} may not talk with this server")
        key = await self._fetch_key(header, address)
        text, content = await self._read(header, body, key, method=method, uri=uri)
        # Not before: who only claims to be a server must not use up what it may send.
        self._throttle(("federation", header.origin))
        return header.origin, text, content

    async def _fetch_key(self, header: XMatrix, address: str) -> VerifyKey:
        now_ms = self._now_ms()
        fetch = partial(self._keys.fetch_keys, header.origin, [header.key_id], minimum_valid_until_ts=now_ms)
        if self._keys.has_key(header.origin, header.key_id, minimum_valid_until_ts=now_ms):
            keys = await fetch()
        else:
            async with self._strangers.admit(address):
                keys = await fetch()
        key = keys.get(header.key_id)
        if key is None:
            raise Unauthorized(f"The key {header.key_id} of {header.origin} cannot be found")
        if not key.may_sign_request(now_ms):
            raise Unauthorized(f"The key {header.key_id} of {header.origin} is not valid any more")
        return key

    async def _read(
        self, header: XMatrix, body: bytes, key: VerifyKey, *, method: str, uri: str
    ) -> tuple[bytes, Content]:
        """The body as its origin signed it. Small ones are parsed on the way."""
        verify = partial(
            verify_request, header, method=method, uri=uri, destination=self._server_name, body=body or None, key=key
        )
        try:
            if len(body) <= IN_PLACE_BYTES_MAX:
                content = _parse_content(body)
                verify(body=None if content is None else encode_canonical_json(content, strict=False))
                return body, content
            # Most servers send canonical JSON, and what was signed as it came need not be written again.
            try:
                await self._verify_aside(verify, len(body))
            except InvalidSignature:
                body = await run_slices(encode_in_slices(body))
                await self._verify_aside(partial(verify, body=body), len(body))
        except TooMuch as error:
            raise TooLarge(f"The body is more than can be read: {error}") from None
        except NoJson as error:
            raise NotJson(f"The body is not valid JSON: {error}") from None
        except (Malformed, InvalidSignature) as error:
            raise Unauthorized(f"The request is not signed as it says: {error}") from None
        return body, None

    async def _verify_aside(self, verify: Callable[[], None], length: int) -> None:
        if length > VERIFIED_IN_PLACE_BYTES_MAX and self._has_threads:
            await trio.to_thread.run_sync(verify, limiter=self._limiter)
        else:
            await trio.lowlevel.checkpoint()
            verify()

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


def _parse_content(body: bytes) -> Content:
    return _require_object(parse_json(body)) if body else None


def _require_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MatrixError("The body is not a JSON object", errcode="M_BAD_JSON", status=400)
    return value
