"""``GET /_matrix/federation/v1/query/{queryType}``

Spec: server-server-api/#querying-for-information
"""

from __future__ import annotations

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.params import require_argument
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_alias, parse_user_id
from conduit_py.service.errors import Unrecognized
from conduit_py.service.rooms.aliases import AliasService
from conduit_py.service.users.profile import ProfileService


def routes(auth: ServerAuthenticator, aliases: AliasService, profiles: ProfileService) -> Routes:
    """The operations of this module."""
    routes = Routes("query")

    @routes.get("/_matrix/federation/v1/query/directory")
    async def query_room_directory(request: Request) -> Json:
        await auth.require_server(request)
        room_id, servers = await aliases.resolve_here(parse_room_alias(require_argument(request, "room_alias")))
        return {"room_id": room_id, "servers": servers}

    @routes.get("/_matrix/federation/v1/query/profile")
    async def query_profile(request: Request) -> Json:
        await auth.require_server(request)
        user_id = parse_user_id(require_argument(request, "user_id"))
        field: str | None = request.args.get("field")
        if field is not None:
            return {field: profiles.require_field(user_id, field)}
        return profiles.require_profile(user_id)

    @routes.get("/_matrix/federation/v1/query/<query_type>")
    async def query_info(request: Request, query_type: str) -> Json:
        await auth.require_server(request)
        raise Unrecognized("this server does not have this type of query")

    return routes
