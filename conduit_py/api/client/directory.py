"""Room aliases: ``/_matrix/client/v3/directory/room/{roomAlias}`` and ``/_matrix/client/v3/rooms/{roomId}/aliases``

Spec: client-server-api/#room-aliases
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_alias, parse_room_id
from conduit_py.service.rooms.aliases import AliasService


def routes(auth: Authenticator, aliases: AliasService) -> Routes:
    """The operations of this module."""
    routes = Routes("directory")

    @routes.put("/_matrix/client/v3/directory/room/<room_alias>")
    async def set_room_alias(request: Request, room_alias: str) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        room_id = parse_room_id(require_field(body, "room_id", str))
        await aliases.set_alias(requester, parse_room_alias(room_alias), room_id)
        return {}

    @routes.get("/_matrix/client/v3/directory/room/<room_alias>")
    async def get_room_id_by_alias(request: Request, room_alias: str) -> Json:
        room_id, servers = await aliases.resolve(parse_room_alias(room_alias))
        return {"room_id": room_id, "servers": servers}

    @routes.delete("/_matrix/client/v3/directory/room/<room_alias>")
    async def delete_room_alias(request: Request, room_alias: str) -> Json:
        await aliases.delete_alias(auth.require_user(request), parse_room_alias(room_alias))
        return {}

    @routes.get("/_matrix/client/v3/rooms/<room_id>/aliases")
    async def get_local_aliases(request: Request, room_id: str) -> Json:
        return {"aliases": aliases.get_local_aliases(auth.require_user(request), parse_room_id(room_id))}

    return routes
