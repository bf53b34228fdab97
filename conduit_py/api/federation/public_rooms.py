"""``/_matrix/federation/v1/publicRooms``

Spec: server-server-api/#published-room-directory
"""

from __future__ import annotations

from typing import Final

from conduit_py.api.directory_query import parse_directory_query
from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.params import choose_argument
from conduit_py.api.room_query import get_limit
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import InvalidParam
from conduit_py.service.rooms.directory import DirectoryService
from conduit_py.service.rooms.directory_query import DirectoryQuery

BODY_BYTES_MAX: Final = 64 * 1024


def routes(auth: ServerAuthenticator, directory: DirectoryService) -> Routes:
    """The operations of this module."""
    routes = Routes("public_rooms")

    @routes.get("/_matrix/federation/v1/publicRooms")
    async def get_public_rooms(request: Request) -> Json:
        await auth.require_server(request)
        since, network = request.args.get("since") or None, request.args.get("third_party_instance_id") or None
        if network is not None and choose_argument(request, "include_all_networks", ("false", "true")) == "true":
            raise InvalidParam("third_party_instance_id can only be used if include_all_networks is false")
        return await directory.get_own_rooms(DirectoryQuery(limit=get_limit(request), since=since, network=network))

    @routes.post("/_matrix/federation/v1/publicRooms")
    async def query_public_rooms(request: Request) -> Json:
        await auth.require_server(request, bytes_max=BODY_BYTES_MAX)
        body = await request.json_object(bytes_max=BODY_BYTES_MAX, may_be_empty=True)
        return await directory.get_own_rooms(parse_directory_query(body))

    return routes
