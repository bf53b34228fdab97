"""``GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}``

Spec: client-server-api/#get_matrixclientv3roomsroomidcontexteventid
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.room_query import get_filter, get_limit
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id
from conduit_py.service.rooms.timeline import TimelineService


def routes(auth: Authenticator, timeline: TimelineService) -> Routes:
    """The operations of this module."""
    routes = Routes("event_context")

    @routes.get("/_matrix/client/v3/rooms/<room_id>/context/<event_id>")
    async def get_event_context(request: Request, room_id: str, event_id: str) -> Raw:
        requester = auth.require_user(request, may_be_guest=True)
        context = await timeline.get_context(
            requester,
            parse_room_id(room_id),
            parse_event_id(event_id),
            limit=get_limit(request),
            filter=get_filter(request),
        )
        return Raw(context)

    return routes
