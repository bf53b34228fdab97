"""``PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}``

Spec: server-server-api/#put_matrixfederationv2send_leaveroomideventid
"""

from __future__ import annotations

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.federation.body import event_body
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id
from conduit_py.service.federation.handshakes.submissions import Submissions


def routes(auth: ServerAuthenticator, submissions: Submissions) -> Routes:
    """The operations of this module."""
    routes = Routes("leaving_v2")

    @routes.put("/_matrix/federation/v2/send_leave/<room_id>/<event_id>")
    async def send_leave_v2(request: Request, room_id: str, event_id: str) -> Json:
        origin, event = await event_body(auth, request)
        await submissions.submit_leave(origin, parse_room_id(room_id), parse_event_id(event_id), event)
        return {}

    return routes
