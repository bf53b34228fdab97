"""``GET /_matrix/client/v3/rooms/{roomId}/initialSync``

Spec: client-server-api/#get_matrixclientv3roomsroomidinitialsync
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.rooms.room_snapshots import RoomSnapshots


def routes(auth: Authenticator, snapshots: RoomSnapshots) -> Routes:
    """The operations of this module."""
    routes = Routes("room_initial_sync")

    @routes.get("/_matrix/client/v3/rooms/<room_id>/initialSync")
    async def room_initial_sync(request: Request, room_id: str) -> Raw:
        requester = auth.require_user(request, may_be_guest=True)
        return Raw(await snapshots.get_room(requester, parse_room_id(room_id)))

    return routes
