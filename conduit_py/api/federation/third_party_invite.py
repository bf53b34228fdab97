"""``PUT .../exchange_third_party_invite/{roomId}`` and ``PUT .../3pid/onbind``

Spec: server-server-api/#third-party-invites
"""

from __future__ import annotations

from typing import Final

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.federation.body import event_body
from conduit_py.api.fields import require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id, parse_user_id
from conduit_py.service.federation.handshakes.invites.third_party import ThirdPartyInvites

BOUND_BYTES_MAX: Final = 256 * 1024


def routes(auth: ServerAuthenticator, invites: ThirdPartyInvites) -> Routes:
    """The operations of this module."""
    routes = Routes("third_party_invite")

    @routes.put("/_matrix/federation/v1/exchange_third_party_invite/<room_id>")
    async def exchange_third_party_invite(request: Request, room_id: str) -> Json:
        origin, partial = await event_body(auth, request)
        await invites.exchange(origin, parse_room_id(room_id), partial)
        return {}

    @routes.put("/_matrix/federation/v1/3pid/onbind")
    async def on_bind_third_party_identifier(request: Request) -> Json:
        auth.require_allowed()
        auth.throttle(request)
        body = await request.json_object(bytes_max=BOUND_BYTES_MAX)
        mxid, waiting = require_field(body, "mxid", str), require_field(body, "invites", list)
        await invites.take_bound(parse_user_id(mxid), waiting)
        return {}

    return routes
