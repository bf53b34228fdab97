"""``PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}``

Spec: client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id
from conduit_py.service.rooms.send import SendService


def routes(auth: Authenticator, send: SendService) -> Routes:
    """The operations of this module."""
    routes = Routes("redaction")

    @routes.put("/_matrix/client/v3/rooms/<room_id>/redact/<event_id>/<txn_id>")
    async def redact_event(request: Request, room_id: str, event_id: str, txn_id: str) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object(may_be_empty=True)
        reason = get_field(body, "reason", str)
        redaction_id = await send.redact_event(
            requester,
            parse_room_id(room_id),
            parse_event_id(event_id),
            txn_id=txn_id,
            content={} if reason is None else {"reason": reason},
        )
        return {"event_id": redaction_id}

    return routes
