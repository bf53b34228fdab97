"""``GET /.well-known/matrix/client``

Spec: client-server-api/#well-known-uris
"""

from __future__ import annotations

from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes


def routes(*, base_url: str) -> Routes:
    """The operations of this module."""
    routes = Routes("wellknown")

    @routes.get("/.well-known/matrix/client")
    async def get_wellknown(request: Request) -> Json:
        return {"m.homeserver": {"base_url": base_url}}

    return routes
