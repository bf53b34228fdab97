"""``POST /_matrix/client/v3/account/password``

Spec: client-server-api/#post_matrixclientv3accountpassword
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field, require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.change_password import ChangePasswordService


def routes(auth: Authenticator, passwords: ChangePasswordService) -> Routes:
    """The operations of this module."""
    routes = Routes("password_management")

    @routes.post("/_matrix/client/v3/account/password")
    async def change_password(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        logout_devices = get_field(body, "logout_devices", bool)
        await passwords.change_password(
            requester,
            require_field(body, "new_password", str),
            get_field(body, "auth", dict),
            logout_devices=logout_devices is not False,
        )
        return {}

    return routes
