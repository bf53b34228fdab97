"""``GET /_matrix/client/v3/rooms/{roomId}/messages``

Spec: client-server-api/#get_matrixclientv3roomsroomidmessages
"""

from __future__ import annotations

from typing import cast

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import choose_argument, require_argument
from conduit_py.api.room_query import get_filter, get_limit
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.rooms.timeline import Direction, Query, TimelineService


def routes(auth: Authenticator, timeline: TimelineService) -> Routes:
    """The operations of this module."""
    routes = Routes("message_pagination")

    @routes.get("/_matrix/client/v3/rooms/<room_id>/messages")
    async def get_room_events(request: Request, room_id: str) -> Raw:
        requester = auth.require_user(request, may_be_guest=True)
        require_argument(request, "dir")
        query = Query(
            direction=cast("Direction", choose_argument(request, "dir", ("b", "f"))),
            from_token=request.args.get("from") or None,
            to_token=request.args.get("to") or None,
            limit=get_limit(request),
            filter=get_filter(request),
        )
        return Raw(await timeline.get_messages(requester, parse_room_id(room_id), query))

    return routes
