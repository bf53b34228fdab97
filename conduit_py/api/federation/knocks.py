"""``GET .../make_knock/{roomId}/{userId}`` and ``PUT .../send_knock/{roomId}/{eventId}``

Spec: server-server-api/#knocking-rooms
"""

from __future__ import annotations

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.federation.body import event_body
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id, parse_user_id
from conduit_py.service.federation.handshakes.submissions import Submissions
from conduit_py.service.federation.handshakes.templates import Templates


def routes(auth: ServerAuthenticator, templates: Templates, submissions: Submissions) -> Routes:
    """The operations of this module."""
    routes = Routes("knocks")

    @routes.get("/_matrix/federation/v1/make_knock/<room_id>/<user_id>")
    async def make_knock(request: Request, room_id: str, user_id: str) -> Json:
        origin = await auth.require_server(request)
        versions = request.args.getlist("ver")
        return await templates.build_knock(origin, parse_room_id(room_id), parse_user_id(user_id), versions=versions)

    @routes.put("/_matrix/federation/v1/send_knock/<room_id>/<event_id>")
    async def send_knock(request: Request, room_id: str, event_id: str) -> Json:
        origin, event = await event_body(auth, request)
        shown = await submissions.submit_knock(origin, parse_room_id(room_id), parse_event_id(event_id), event)
        return {"knock_room_state": shown}

    return routes
