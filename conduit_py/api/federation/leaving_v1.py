"""``GET /_matrix/federation/v1/make_leave/{roomId}/{userId}``

Spec: server-server-api/#get_matrixfederationv1make_leaveroomiduserid
"""

from __future__ import annotations

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id, parse_user_id
from conduit_py.service.federation.handshakes.templates import Templates


def routes(auth: ServerAuthenticator, templates: Templates) -> Routes:
    """The operations of this module."""
    routes = Routes("leaving_v1")

    @routes.get("/_matrix/federation/v1/make_leave/<room_id>/<user_id>")
    async def make_leave(request: Request, room_id: str, user_id: str) -> Json:
        origin = await auth.require_server(request)
        return await templates.build_leave(origin, parse_room_id(room_id), parse_user_id(user_id))

    return routes
