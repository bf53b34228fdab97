"""``/_matrix/client/v3/user/{userId}/filter``

Spec: client-server-api/#filtering
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.filters import FilterService


def routes(auth: Authenticator, filters: FilterService) -> Routes:
    """The operations of this module."""
    routes = Routes("filter")

    @routes.post("/_matrix/client/v3/user/<user_id>/filter")
    async def define_filter(request: Request, user_id: str) -> Json:
        requester = auth.require_user(request)
        return {"filter_id": await filters.define_filter(requester, user_id, await request.json_object())}

    @routes.get("/_matrix/client/v3/user/<user_id>/filter/<filter_id>")
    async def get_filter(request: Request, user_id: str, filter_id: str) -> Json:
        return filters.require_filter(auth.require_user(request), user_id, filter_id)

    return routes
