"""The published room directory: ``/_matrix/client/v3/publicRooms`` and what stands in it.

Spec: client-server-api/#published-room-directory
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.directory_query import parse_directory_query
from conduit_py.api.fields import Body, get_field
from conduit_py.api.room_query import get_limit
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.errors import InvalidParam
from conduit_py.service.rooms.directory import DirectoryService
from conduit_py.service.rooms.directory_query import DirectoryQuery


def routes(auth: Authenticator, directory: DirectoryService) -> Routes:
    """The operations of this module."""
    routes = Routes("list_public_rooms")

    @routes.get("/_matrix/client/v3/directory/list/room/<room_id>")
    async def get_room_visibility_on_directory(request: Request, room_id: str) -> Json:
        return {"visibility": "public" if directory.is_public(parse_room_id(room_id)) else "private"}

    @routes.put("/_matrix/client/v3/directory/list/room/<room_id>")
    async def set_room_visibility_on_directory(request: Request, room_id: str) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object(may_be_empty=True)
        await directory.set_public(requester, parse_room_id(room_id), is_public=_parse_is_public(body))
        return {}

    @routes.get("/_matrix/client/v3/publicRooms")
    async def get_public_rooms(request: Request) -> Json:
        since, server = request.args.get("since") or None, request.args.get("server") or None
        return await directory.get_public_rooms(DirectoryQuery(limit=get_limit(request), since=since, server=server))

    @routes.post("/_matrix/client/v3/publicRooms")
    async def query_public_rooms(request: Request) -> Json:
        auth.require_user(request)
        body = await request.json_object(may_be_empty=True)
        return await directory.get_public_rooms(parse_directory_query(body, server=request.args.get("server") or None))

    return routes


def _parse_is_public(body: Body) -> bool:
    visibility = get_field(body, "visibility", str)
    if visibility not in (None, "public", "private"):
        raise InvalidParam("visibility must be public or private")
    return visibility != "private"
