"""``POST /_matrix/client/v3/rooms/{roomId}/leave``

Spec: client-server-api/#post_matrixclientv3roomsroomidleave
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.rooms.membership import MembershipService


def routes(auth: Authenticator, membership: MembershipService) -> Routes:
    """The operations of this module."""
    routes = Routes("leaving")

    @routes.post("/_matrix/client/v3/rooms/<room_id>/leave")
    async def leave_room(request: Request, room_id: str) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        body = await request.json_object(may_be_empty=True)
        await membership.leave(requester, parse_room_id(room_id), reason=get_field(body, "reason", str))
        return {}

    @routes.post("/_matrix/client/v3/rooms/<room_id>/forget")
    async def forget_room(request: Request, room_id: str) -> Json:
        await membership.forget(auth.require_user(request), parse_room_id(room_id))
        return {}

    return routes
