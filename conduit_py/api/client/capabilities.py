"""``GET /_matrix/client/v3/capabilities``

Spec: client-server-api/#capabilities-negotiation
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.room_versions import ROOM_VERSIONS


def routes(auth: Authenticator, *, default_room_version: str) -> Routes:
    """The operations of this module."""
    routes = Routes("capabilities")
    capabilities = {
        "m.room_versions": {"default": default_room_version, "available": dict.fromkeys(ROOM_VERSIONS, "stable")},
        "m.change_password": {"enabled": True},
        "m.set_displayname": {"enabled": True},
        "m.set_avatar_url": {"enabled": True},
        "m.profile_fields": {"enabled": True},
        "m.3pid_changes": {"enabled": False},
        "m.get_login_token": {"enabled": True},
        "m.forget_forced_upon_leave": {"enabled": False},
    }
    of_admins = {**capabilities, "m.account_moderation": {"suspend": True, "lock": True}}

    @routes.get("/_matrix/client/v3/capabilities")
    async def get_capabilities(request: Request) -> Json:
        requester = auth.require_user(request)
        return {"capabilities": of_admins if requester.is_admin else capabilities}

    return routes
