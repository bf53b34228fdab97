"""``GET /_matrix/federation/v1/user/devices/{userId}``

Spec: server-server-api/#get_matrixfederationv1userdevicesuserid
"""

from __future__ import annotations

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.e2ee.for_servers import KeysForServers


def routes(auth: ServerAuthenticator, keys: KeysForServers) -> Routes:
    """The operations of this module."""
    routes = Routes("user_devices")

    @routes.get("/_matrix/federation/v1/user/devices/<user_id>")
    async def get_user_devices(request: Request, user_id: str) -> Json:
        await auth.require_server(request)
        return keys.require_devices(user_id)

    return routes
