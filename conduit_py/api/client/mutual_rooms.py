"""``GET /_matrix/client/v1/mutual_rooms``

Spec: client-server-api/#mutual-rooms
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import require_argument
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.mutual_rooms import MutualRoomService


def routes(auth: Authenticator, mutual_rooms: MutualRoomService) -> Routes:
    """The operations of this module."""
    routes = Routes("mutual_rooms")

    @routes.get("/_matrix/client/v1/mutual_rooms")
    async def get_mutual_rooms(request: Request) -> Json:
        requester = auth.require_user(request)
        user_id = require_argument(request, "user_id")
        found = mutual_rooms.get_mutual_rooms(requester, user_id, request.args.get("from"))
        more = {} if found.next_batch is None else {"next_batch": found.next_batch}
        return {"joined": found.joined, "count": found.count, **more}

    return routes
