"""``POST /_matrix/client/v3/rooms/{roomId}/upgrade``

Spec: client-server-api/#post_matrixclientv3roomsroomidupgrade
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import Body, get_strings, require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id, parse_user_id
from conduit_py.matrix.room_versions import get_room_version
from conduit_py.service.errors import MatrixError
from conduit_py.service.rooms.upgrade import Upgrade, UpgradeService


def routes(auth: Authenticator, upgrades: UpgradeService) -> Routes:
    """The operations of this module."""
    routes = Routes("room_upgrades")

    @routes.post("/_matrix/client/v3/rooms/<room_id>/upgrade")
    async def upgrade_room(request: Request, room_id: str) -> Json:
        requester = auth.require_user(request)
        upgrade = _parse_upgrade(await request.json_object())
        return {"replacement_room": await upgrades.upgrade_room(requester, parse_room_id(room_id), upgrade)}

    return routes


def _parse_upgrade(body: Body) -> Upgrade:
    named = require_field(body, "new_version", str)
    version = get_room_version(named)
    if version is None:
        raise MatrixError(
            f"this server does not know room version {named}", errcode="M_UNSUPPORTED_ROOM_VERSION", status=400
        )
    if not version.auth.additional_creators:
        return Upgrade(version=version)
    creators = tuple(parse_user_id(user_id) for user_id in get_strings(body, "additional_creators"))
    return Upgrade(version=version, additional_creators=creators)
