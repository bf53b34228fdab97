"""``GET /_matrix/client/v1/rooms/{roomId}/hierarchy``

Spec: client-server-api/#get_matrixclientv1roomsroomidhierarchy
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import choose_argument
from conduit_py.api.room_query import get_count, get_limit
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.rooms.spaces import HierarchyQuery, SpaceService


def routes(auth: Authenticator, spaces: SpaceService) -> Routes:
    """The operations of this module."""
    routes = Routes("space_hierarchy")

    @routes.get("/_matrix/client/v1/rooms/<room_id>/hierarchy")
    async def get_space_hierarchy(request: Request, room_id: str) -> Json:
        requester = auth.require_user(request)
        query = HierarchyQuery(
            limit=get_limit(request),
            max_depth=get_count(request, "max_depth"),
            suggested_only=choose_argument(request, "suggested_only", ("false", "true")) == "true",
            from_token=request.args.get("from") or None,
        )
        return await spaces.get_hierarchy(requester, parse_room_id(room_id), query)

    return routes
