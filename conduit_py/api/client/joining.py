"""``POST .../rooms/{roomId}/join`` and ``POST .../join/{roomIdOrAlias}``

Spec: client-server-api/#joining-rooms
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field
from conduit_py.api.params import get_via, parse_room_id_or_alias
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.rooms.aliases import AliasService
from conduit_py.service.rooms.membership import MembershipService


def routes(auth: Authenticator, aliases: AliasService, membership: MembershipService) -> Routes:
    """The operations of this module."""
    routes = Routes("joining")

    async def join(request: Request, room_id_or_alias: str) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        body = await request.json_object(may_be_empty=True)
        room_id, servers = await aliases.find_room(parse_room_id_or_alias(room_id_or_alias))
        joined = await membership.join(
            requester,
            room_id,
            via=[*get_via(request), *servers],
            reason=get_field(body, "reason", str),
            signed=get_field(body, "third_party_signed", dict),
        )
        return {"room_id": joined}

    @routes.post("/_matrix/client/v3/rooms/<room_id>/join")
    async def join_room_by_id(request: Request, room_id: str) -> Json:
        return await join(request, parse_room_id(room_id))

    @routes.post("/_matrix/client/v3/join/<room_id_or_alias>")
    async def join_room(request: Request, room_id_or_alias: str) -> Json:
        return await join(request, room_id_or_alias)

    return routes
