"""``PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}``

Spec: client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.timestamp import with_asserted_time
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.rooms.send import SendService


def routes(auth: Authenticator, send: SendService) -> Routes:
    """The operations of this module."""
    routes = Routes("room_state")

    @routes.put("/_matrix/client/v3/rooms/<room_id>/state/<event_type>/<path:state_key>")
    async def set_room_state_with_key(request: Request, room_id: str, event_type: str, state_key: str) -> Json:
        requester = with_asserted_time(request, auth.require_user(request, may_be_guest=True))
        content = await request.json_object()
        event_id = await send.set_state(
            requester, parse_room_id(room_id), event_type=event_type, state_key=state_key, content=content
        )
        return {"event_id": event_id}

    return routes
