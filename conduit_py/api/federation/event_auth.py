"""``GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}``

Spec: server-server-api/#retrieving-event-authorisation-information
"""

from __future__ import annotations

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.http.reply import JSON_TYPE, Streamed
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id
from conduit_py.service.federation.reading.states import StateReads


def routes(auth: ServerAuthenticator, states: StateReads) -> Routes:
    """The operations of this module."""
    routes = Routes("event_auth")

    @routes.get("/_matrix/federation/v1/event_auth/<room_id>/<event_id>")
    async def get_event_auth(request: Request, room_id: str, event_id: str) -> Streamed:
        origin = await auth.require_server(request)
        return Streamed(states.get_event_auth(origin, parse_room_id(room_id), parse_event_id(event_id)), JSON_TYPE)

    return routes
