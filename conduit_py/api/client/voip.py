"""``GET /_matrix/client/v3/voip/turnServer``

Spec: client-server-api/#get_matrixclientv3voipturnserver
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.turn import TurnService


def routes(auth: Authenticator, turn: TurnService) -> Routes:
    """The operations of this module."""
    routes = Routes("voip")

    @routes.get("/_matrix/client/v3/voip/turnServer")
    async def get_turn_server(request: Request) -> Json:
        requester = auth.require_user(request)
        credentials = turn.get_credentials(requester.user_id)
        if credentials is None:
            return {}
        return {
            "username": credentials.username,
            "password": credentials.password,
            "uris": list(credentials.uris),
            "ttl": credentials.ttl_s,
        }

    return routes
