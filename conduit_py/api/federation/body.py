"""Bodies of requests by other servers."""

from __future__ import annotations

from typing import Any, Final

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.http.request import Request
from conduit_py.matrix.ids import ServerName
from conduit_py.service.errors import BadJson

EVENT_BYTES_MAX: Final = 256 * 1024
"""An event of at most 64 KiB, with ``unsigned``, and spaces in it."""


async def event_body(
    auth: ServerAuthenticator, request: Request, *, bytes_max: int = EVENT_BYTES_MAX
) -> tuple[ServerName, dict[str, Any]]:
    """Who asks, and the JSON object of the body, its numbers exactly as they came.

    Raises what ``require_signed`` raises, and ``BadJson``.
    """
    origin, body = await auth.require_signed(request, bytes_max=bytes_max)
    if body is None:
        raise BadJson("the body must be a JSON object")
    return origin, body
