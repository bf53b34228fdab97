"""``POST /_matrix/client/v3/knock/{roomIdOrAlias}``

Spec: client-server-api/#post_matrixclientv3knockroomidoralias
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field
from conduit_py.api.params import get_via, parse_room_id_or_alias
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.rooms.aliases import AliasService
from conduit_py.service.rooms.knocking import KnockService


def routes(auth: Authenticator, aliases: AliasService, knocks: KnockService) -> Routes:
    """The operations of this module."""
    routes = Routes("knocking")

    @routes.post("/_matrix/client/v3/knock/<room_id_or_alias>")
    async def knock_room(request: Request, room_id_or_alias: str) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object(may_be_empty=True)
        room_id, servers = await aliases.find_room(parse_room_id_or_alias(room_id_or_alias))
        via = [*get_via(request), *servers]
        return {"room_id": await knocks.knock(requester, room_id, via=via, reason=get_field(body, "reason", str))}

    return routes
