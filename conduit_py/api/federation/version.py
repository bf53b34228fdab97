"""``GET /_matrix/federation/v1/version``

Spec: server-server-api/#get_matrixfederationv1version
"""

from __future__ import annotations

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes


def routes(auth: ServerAuthenticator, *, version: str) -> Routes:
    """The operations of this module."""
    routes = Routes("version")

    @routes.get("/_matrix/federation/v1/version")
    async def get_version(request: Request) -> Json:
        auth.require_allowed()
        return {"server": {"name": "conduit_py", "version": version}}

    return routes
