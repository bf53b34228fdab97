"""``POST /_matrix/client/v3/rooms/{roomId}/read_markers``

Spec: client-server-api/#post_matrixclientv3roomsroomidread_markers
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import EventId, parse_room_id
from conduit_py.service.rooms.receipts import RECEIPT_TYPES, ReceiptService


def routes(auth: Authenticator, receipts: ReceiptService) -> Routes:
    """The operations of this module."""
    routes = Routes("read_markers")

    @routes.post("/_matrix/client/v3/rooms/<room_id>/read_markers")
    async def set_read_marker(request: Request, room_id: str) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        body = await request.json_object(may_be_empty=True)
        named = {type_: get_field(body, type_, str) for type_ in RECEIPT_TYPES}
        markers = {type_: EventId(event_id) for type_, event_id in named.items() if event_id is not None}
        await receipts.set_read_marker(requester, parse_room_id(room_id), markers)
        return {}

    return routes
