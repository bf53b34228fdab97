"""``GET /_matrix/federation/v1/openid/userinfo``

Spec: server-server-api/#openid
"""

from __future__ import annotations

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.params import require_argument
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import UnknownToken
from conduit_py.service.users.openid import OpenIdService


def routes(auth: ServerAuthenticator, openid: OpenIdService) -> Routes:
    """The operations of this module. Who asks need not be a server, so nothing is signed."""
    routes = Routes("openid")

    @routes.get("/_matrix/federation/v1/openid/userinfo")
    async def exchange_open_id_token(request: Request) -> Json:
        auth.require_allowed()
        auth.throttle(request)
        user_id = openid.get_user(require_argument(request, "access_token"))
        if user_id is None:
            raise UnknownToken("The access token is unknown, or has expired")
        return {"sub": user_id}

    return routes
