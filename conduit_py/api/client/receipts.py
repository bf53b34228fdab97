"""``POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}``

Spec: client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import EventId, parse_room_id
from conduit_py.service.errors import InvalidParam
from conduit_py.service.rooms.receipts import ReceiptService


def routes(auth: Authenticator, receipts: ReceiptService) -> Routes:
    """The operations of this module."""
    routes = Routes("receipts")

    @routes.post("/_matrix/client/v3/rooms/<room_id>/receipt/<receipt_type>/<event_id>")
    async def post_receipt(request: Request, room_id: str, receipt_type: str, event_id: str) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        body = await request.json_object(may_be_empty=True)
        if "thread_id" in body and body["thread_id"] is None:
            raise InvalidParam("thread_id field must be a non-empty string")
        await receipts.post_receipt(
            requester, parse_room_id(room_id), receipt_type, EventId(event_id), thread_id=body.get("thread_id")
        )
        return {}

    return routes
