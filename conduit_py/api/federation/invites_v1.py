"""``PUT /_matrix/federation/v1/invite/{roomId}/{eventId}``

Spec: server-server-api/#put_matrixfederationv1inviteroomideventid
"""

from __future__ import annotations

from typing import Final

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.federation.body import event_body
from conduit_py.api.federation.invites_v2 import INVITE_BYTES_MAX
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id
from conduit_py.service.federation.handshakes.invites.received import InvitesReceived

ROOM_VERSION: Final = "1"
"""Rooms of version 2, the only others that are invited to in this way, have the same events."""


def routes(auth: ServerAuthenticator, invites: InvitesReceived) -> Routes:
    """The operations of this module."""
    routes = Routes("invites_v1")

    @routes.put("/_matrix/federation/v1/invite/<room_id>/<event_id>")
    async def send_invite_v1(request: Request, room_id: str, event_id: str) -> Json:
        origin, event = await event_body(auth, request, bytes_max=INVITE_BYTES_MAX)
        unsigned = event.get("unsigned")
        signed = await invites.take(
            origin,
            parse_room_id(room_id),
            parse_event_id(event_id),
            room_version=ROOM_VERSION,
            raw=event,
            room_state=unsigned.get("invite_room_state") if isinstance(unsigned, dict) else None,
        )
        return [200, {"event": signed}]

    return routes
