"""``PUT /_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}``

Spec: client-server-api/#put_matrixclientv3directorylistappservicenetworkidroomid
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.errors import InvalidParam
from conduit_py.service.rooms.network_directory import NetworkDirectory


def routes(auth: Authenticator, directory: NetworkDirectory) -> Routes:
    """The operations of this module."""
    routes = Routes("appservice_room_directory")

    @routes.put("/_matrix/client/v3/directory/list/appservice/<network_id>/<room_id>")
    async def update_appservice_room_directory_visibility(request: Request, network_id: str, room_id: str) -> Json:
        appservice = auth.require_appservice(request)
        visibility = require_field(await request.json_object(), "visibility", str)
        if visibility not in ("public", "private"):
            raise InvalidParam("visibility must be public or private")
        await directory.set_listed(appservice, network_id, parse_room_id(room_id), is_listed=visibility == "public")
        return {}

    return routes
