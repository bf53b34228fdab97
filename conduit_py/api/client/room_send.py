"""``PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}``

Spec: client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
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
    routes = Routes("room_send")

    @routes.put("/_matrix/client/v3/rooms/<room_id>/send/<event_type>/<txn_id>")
    async def send_message(request: Request, room_id: str, event_type: str, txn_id: str) -> Json:
        requester = with_asserted_time(request, auth.require_user(request, may_be_guest=True))
        content = await request.json_object()
        event_id = await send.send_message(
            requester, parse_room_id(room_id), event_type=event_type, txn_id=txn_id, content=content
        )
        return {"event_id": event_id}

    return routes
