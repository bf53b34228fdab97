"""``/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags``

Spec: client-server-api/#room-tagging
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.account_data import AccountDataService


def routes(auth: Authenticator, account_data: AccountDataService) -> Routes:
    """The operations of this module."""
    routes = Routes("tags")

    @routes.get("/_matrix/client/v3/user/<user_id>/rooms/<room_id>/tags")
    async def get_room_tags(request: Request, user_id: str, room_id: str) -> Json:
        return {"tags": account_data.get_tags(auth.require_user(request), user_id, room_id)}

    @routes.put("/_matrix/client/v3/user/<user_id>/rooms/<room_id>/tags/<tag>")
    async def set_room_tag(request: Request, user_id: str, room_id: str, tag: str) -> Json:
        requester = auth.require_user(request)
        content = await request.json_object(may_be_empty=True)
        await account_data.set_tag(requester, user_id, room_id, tag, content)
        return {}

    @routes.delete("/_matrix/client/v3/user/<user_id>/rooms/<room_id>/tags/<tag>")
    async def delete_room_tag(request: Request, user_id: str, room_id: str, tag: str) -> Json:
        await account_data.delete_tag(auth.require_user(request), user_id, room_id, tag)
        return {}

    return routes
