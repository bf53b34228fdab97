"""``GET /.well-known/matrix/server``

Spec: server-server-api/#getwell-knownmatrixserver
"""

from __future__ import annotations

from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import NotFound


def routes(*, delegated: str | None) -> Routes:
    """The operations of this module; ``delegated`` is where other servers are sent, ``None`` for nowhere."""
    routes = Routes("wellknown")

    @routes.get("/.well-known/matrix/server")
    async def get_well_known(request: Request) -> Json:
        if delegated is None:
            raise NotFound("This server does not talk with other servers")
        return {"m.server": delegated}

    return routes
