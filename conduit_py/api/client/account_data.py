"""``/_matrix/client/v3/user/{userId}/account_data``, global and by room

Spec: client-server-api/#client-config
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.account_data import AccountDataService


def routes(auth: Authenticator, account_data: AccountDataService) -> Routes:
    """The operations of this module."""
    routes = Routes("account-data")

    @routes.put("/_matrix/client/v3/user/<user_id>/account_data/<type>")
    async def set_account_data(request: Request, user_id: str, type: str) -> Json:
        requester = auth.require_user(request)
        await account_data.set_content(requester, user_id, None, type, await request.json_object())
        return {}

    @routes.get("/_matrix/client/v3/user/<user_id>/account_data/<type>")
    async def get_account_data(request: Request, user_id: str, type: str) -> Json:
        return account_data.require_content(auth.require_user(request), user_id, None, type)

    @routes.put("/_matrix/client/v3/user/<user_id>/rooms/<room_id>/account_data/<type>")
    async def set_account_data_per_room(request: Request, user_id: str, room_id: str, type: str) -> Json:
        requester = auth.require_user(request)
        await account_data.set_content(requester, user_id, room_id, type, await request.json_object())
        return {}

    @routes.get("/_matrix/client/v3/user/<user_id>/rooms/<room_id>/account_data/<type>")
    async def get_account_data_per_room(request: Request, user_id: str, room_id: str, type: str) -> Json:
        return account_data.require_content(auth.require_user(request), user_id, room_id, type)

    return routes
