"""``POST /_matrix/client/v3/rooms/{roomId}/ban``

Spec: client-server-api/#post_matrixclientv3roomsroomidban
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field, require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id, parse_user_id
from conduit_py.service.rooms.membership import MembershipService


def routes(auth: Authenticator, membership: MembershipService) -> Routes:
    """The operations of this module."""
    routes = Routes("banning")

    @routes.post("/_matrix/client/v3/rooms/<room_id>/ban")
    async def ban(request: Request, room_id: str) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        user_id = parse_user_id(require_field(body, "user_id", str))
        reason = get_field(body, "reason", str)
        await membership.ban(requester, parse_room_id(room_id), user_id, reason=reason)
        return {}

    @routes.post("/_matrix/client/v3/rooms/<room_id>/unban")
    async def unban(request: Request, room_id: str) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        user_id = parse_user_id(require_field(body, "user_id", str))
        reason = get_field(body, "reason", str)
        await membership.unban(requester, parse_room_id(room_id), user_id, reason=reason)
        return {}

    return routes
