"""``GET /_matrix/client/v3/joined_rooms``

Spec: client-server-api/#get_matrixclientv3joined_rooms
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.rooms.state_reads import StateReads


def routes(auth: Authenticator, state: StateReads) -> Routes:
    """The operations of this module."""
    routes = Routes("list_joined_rooms")

    @routes.get("/_matrix/client/v3/joined_rooms")
    async def get_joined_rooms(request: Request) -> Json:
        return {"joined_rooms": state.get_joined_rooms(auth.require_user(request))}

    return routes
