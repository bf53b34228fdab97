"""``/_matrix/client/v3/admin/whois/{userId}``, ``/_matrix/client/v1/admin/{suspend,lock}/{userId}``

Spec: client-server-api/#server-administration
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.moderation import ModerationService, Restriction


def routes(auth: Authenticator, moderation: ModerationService) -> Routes:
    """The operations of this module."""
    routes = Routes("admin")

    def get(request: Request, user_id: str, restriction: Restriction, name: str) -> Json:
        return {name: moderation.is_restricted(auth.require_user(request), user_id, restriction)}

    async def put(request: Request, user_id: str, restriction: Restriction, name: str) -> Json:
        requester = auth.require_user(request)
        is_on = require_field(await request.json_object(), name, bool)
        await moderation.restrict(requester, user_id, restriction, is_on=is_on)
        return {name: is_on}

    @routes.get("/_matrix/client/v3/admin/whois/<user_id>")
    async def get_who_is(request: Request, user_id: str) -> Json:
        return moderation.get_sessions(auth.require_user(request), user_id)

    @routes.get("/_matrix/client/v1/admin/suspend/<user_id>")
    async def get_admin_suspend_user(request: Request, user_id: str) -> Json:
        return get(request, user_id, "is_suspended", "suspended")

    @routes.put("/_matrix/client/v1/admin/suspend/<user_id>")
    async def set_admin_suspend_user(request: Request, user_id: str) -> Json:
        return await put(request, user_id, "is_suspended", "suspended")

    @routes.get("/_matrix/client/v1/admin/lock/<user_id>")
    async def get_admin_lock_user(request: Request, user_id: str) -> Json:
        return get(request, user_id, "is_locked", "locked")

    @routes.put("/_matrix/client/v1/admin/lock/<user_id>")
    async def set_admin_lock_user(request: Request, user_id: str) -> Json:
        return await put(request, user_id, "is_locked", "locked")

    return routes
