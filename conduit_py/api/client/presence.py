"""``/_matrix/client/v3/presence/{userId}/status``

Spec: client-server-api/#presence
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.edus import build_presence_event
from conduit_py.service.presence import PresenceService


def routes(auth: Authenticator, presence: PresenceService) -> Routes:
    """The operations of this module."""
    routes = Routes("presence")

    @routes.put("/_matrix/client/v3/presence/<user_id>/status")
    async def set_presence(request: Request, user_id: str) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        await presence.set_presence(requester, user_id, body.get("presence"), body.get("status_msg"))
        return {}

    @routes.get("/_matrix/client/v3/presence/<user_id>/status")
    async def get_presence(request: Request, user_id: str) -> Json:
        found = presence.get_presence(auth.require_user(request), user_id)
        content: Json = build_presence_event(found)["content"]
        return content

    return routes
