"""``GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event``

Spec: client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import choose_argument, require_argument
from conduit_py.api.room_query import parse_time
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.rooms.timestamps import TimestampService


def routes(auth: Authenticator, timestamps: TimestampService) -> Routes:
    """The operations of this module."""
    routes = Routes("room_event_by_timestamp")

    @routes.get("/_matrix/client/v1/rooms/<room_id>/timestamp_to_event")
    async def get_event_by_timestamp(request: Request, room_id: str) -> Json:
        requester = auth.require_user(request)
        ts_ms = parse_time(require_argument(request, "ts"))
        require_argument(request, "dir")
        is_backwards = choose_argument(request, "dir", ("f", "b")) == "b"
        event_id, found_ms = await timestamps.find_event(
            requester, parse_room_id(room_id), ts_ms, is_backwards=is_backwards
        )
        return {"event_id": event_id, "origin_server_ts": found_ms}

    return routes
