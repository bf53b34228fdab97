"""``/_matrix/client/v3/login/sso/redirect``: where browsers are sent to sign in elsewhere. This server knows nowhere.

``GET /login`` lists no ``m.login.sso``, so no client comes here by itself.

Spec: client-server-api/#sso-client-loginauthentication
"""

from __future__ import annotations

from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import NotFound


def routes() -> Routes:
    """The operations of this module."""
    routes = Routes("sso_login_redirect")

    @routes.get("/_matrix/client/v3/login/sso/redirect")
    async def redirect_to_sso(request: Request) -> Json:
        raise _no_provider()

    @routes.get("/_matrix/client/v3/login/sso/redirect/<idp_id>")
    async def redirect_to_idp(request: Request, idp_id: str) -> Json:
        raise _no_provider()

    return routes


def _no_provider() -> NotFound:
    return NotFound("This server has no single sign-on, so there is no identity provider")
