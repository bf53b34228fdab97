"""Headers that let a web client read any reply, errors too.

Spec: client-server-api/#web-browser-clients
"""

from __future__ import annotations

from typing import Final

__all__ = ["CORS", "PREFLIGHT"]

CORS: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"X-Requested-With, Content-Type, Authorization"),
)

PREFLIGHT: Final = (*CORS, (b"access-control-max-age", b"86400"))
"""Answer to OPTIONS. It is the same for every path, so a browser may keep it for a day."""
