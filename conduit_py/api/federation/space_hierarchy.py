"""``GET /_matrix/federation/v1/hierarchy/{roomId}``

Spec: server-server-api/#spaces
"""

from __future__ import annotations

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.params import choose_argument
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.rooms.spaces import SpaceService


def routes(auth: ServerAuthenticator, spaces: SpaceService) -> Routes:
    """The operations of this module."""
    routes = Routes("space_hierarchy")

    @routes.get("/_matrix/federation/v1/hierarchy/<room_id>")
    async def get_space_hierarchy(request: Request, room_id: str) -> Json:
        origin = await auth.require_server(request)
        suggested_only = choose_argument(request, "suggested_only", ("false", "true")) == "true"
        return await spaces.get_for_server(origin, parse_room_id(room_id), suggested_only=suggested_only)

    return routes
