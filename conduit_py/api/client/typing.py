"""``PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}``

Spec: client-server-api/#put_matrixclientv3roomsroomidtypinguserid
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field, require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.rooms.typing import TypingService


def routes(auth: Authenticator, typing: TypingService) -> Routes:
    """The operations of this module."""
    routes = Routes("typing")

    @routes.put("/_matrix/client/v3/rooms/<room_id>/typing/<user_id>")
    async def set_typing(request: Request, room_id: str, user_id: str) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        body = await request.json_object()
        typing.set_typing(
            requester,
            parse_room_id(room_id),
            user_id,
            is_typing=require_field(body, "typing", bool),
            timeout_ms=get_field(body, "timeout", int),
        )
        return {}

    return routes
