"""``POST /_matrix/client/v1/login/get_token``

Spec: client-server-api/#post_matrixclientv1loginget_token
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.login_tokens import LoginTokenService


def routes(auth: Authenticator, login_tokens: LoginTokenService) -> Routes:
    """The operations of this module."""
    routes = Routes("login_token")

    @routes.post("/_matrix/client/v1/login/get_token")
    async def generate_login_token(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object(may_be_empty=True)
        granted = await login_tokens.generate(requester, get_field(body, "auth", dict))
        return {"login_token": granted.token, "expires_in_ms": granted.expires_in_ms}

    return routes
