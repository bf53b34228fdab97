"""``/_matrix/client/v3/logout``

Spec: client-server-api/#post_matrixclientv3logout
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.sessions import SessionService


def routes(auth: Authenticator, sessions: SessionService) -> Routes:
    routes = Routes("logout")

    @routes.post("/_matrix/client/v3/logout")
    async def logout(request: Request) -> Json:
        requester = auth.require_user(request, may_be_guest=True, may_be_locked=True)
        await sessions.log_out(requester)
        return {}

    @routes.post("/_matrix/client/v3/logout/all")
    async def logout_all(request: Request) -> Json:
        requester = auth.require_user(request, may_be_guest=True, may_be_locked=True)
        await sessions.log_out_all(requester)
        return {}

    return routes
