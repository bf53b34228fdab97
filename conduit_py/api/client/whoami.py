"""``GET /_matrix/client/v3/account/whoami``

Spec: client-server-api/#get_matrixclientv3accountwhoami
"""

from __future__ import annotations

from typing import Any

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes


def routes(auth: Authenticator) -> Routes:
    routes = Routes("whoami")

    @routes.get("/_matrix/client/v3/account/whoami")
    async def get_token_owner(request: Request) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        answer: dict[str, Any] = {"user_id": requester.user_id, "is_guest": requester.is_guest}
        if requester.device_id is not None:
            answer["device_id"] = requester.device_id
        return answer

    return routes
