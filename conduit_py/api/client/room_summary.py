"""``GET /_matrix/client/v1/room_summary/{roomIdOrAlias}``

Spec: client-server-api/#get_matrixclientv1room_summaryroomidoralias
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import parse_room_id_or_alias
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.rooms.aliases import AliasService
from conduit_py.service.rooms.previews import PreviewService


def routes(auth: Authenticator, aliases: AliasService, previews: PreviewService) -> Routes:
    """The operations of this module."""
    routes = Routes("room_summary")

    @routes.get("/_matrix/client/v1/room_summary/<room_id_or_alias>")
    async def get_room_summary(request: Request, room_id_or_alias: str) -> Json:
        requester = auth.find_user(request)
        room_id, servers = await aliases.find_room(parse_room_id_or_alias(room_id_or_alias))
        return await previews.get_summary(requester, room_id, via=[*request.args.getlist("via"), *servers])

    return routes
