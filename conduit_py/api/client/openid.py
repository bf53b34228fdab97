"""``POST /_matrix/client/v3/user/{userId}/openid/request_token``

Spec: client-server-api/#openid
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.openid import OpenIdService


def routes(auth: Authenticator, openid: OpenIdService, *, server_name: str) -> Routes:
    """The operations of this module."""
    routes = Routes("openid")

    @routes.post("/_matrix/client/v3/user/<user_id>/openid/request_token")
    async def request_open_id_token(request: Request, user_id: str) -> Json:
        requester = auth.require_user(request)
        await request.json_object(may_be_empty=True)
        granted = await openid.request_token(requester, user_id)
        return {
            "access_token": granted.token,
            "token_type": "Bearer",
            "matrix_server_name": server_name,
            "expires_in": granted.expires_in_s,
        }

    return routes
