"""``PUT /_matrix/federation/v2/invite/{roomId}/{eventId}``

Spec: server-server-api/#put_matrixfederationv2inviteroomideventid
"""

from __future__ import annotations

from typing import Final

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.federation.body import event_body
from conduit_py.api.fields import get_field, require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id
from conduit_py.service.federation.handshakes.invites.received import InvitesReceived

INVITE_BYTES_MAX: Final = 1024 * 1024
"""The invite, and some fifteen events of the largest size that tell of the room."""


def routes(auth: ServerAuthenticator, invites: InvitesReceived) -> Routes:
    """The operations of this module."""
    routes = Routes("invites_v2")

    @routes.put("/_matrix/federation/v2/invite/<room_id>/<event_id>")
    async def send_invite_v2(request: Request, room_id: str, event_id: str) -> Json:
        origin, body = await event_body(auth, request, bytes_max=INVITE_BYTES_MAX)
        signed = await invites.take(
            origin,
            parse_room_id(room_id),
            parse_event_id(event_id),
            room_version=require_field(body, "room_version", str),
            raw=require_field(body, "event", dict),
            room_state=get_field(body, "invite_room_state", list),
        )
        return {"event": signed}

    return routes
