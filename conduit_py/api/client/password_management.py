"""``POST /_matrix/client/v3/account/password`` and what leads to it

Spec: client-server-api/#password-management
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field, require_field
from conduit_py.api.validation_request import read_email, read_phone_number
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.change_password import ChangePasswordService
from conduit_py.service.users.contacts import ContactService


def routes(auth: Authenticator, passwords: ChangePasswordService, contacts: ContactService) -> Routes:
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

    @routes.post("/_matrix/client/v3/account/password/email/requestToken")
    async def request_token_to_reset_password_email(request: Request) -> Json:
        contacts.validate_known("email", read_email(await request.json_object()))
        return {}

    @routes.post("/_matrix/client/v3/account/password/msisdn/requestToken")
    async def request_token_to_reset_password_msisdn(request: Request) -> Json:
        contacts.validate_known("msisdn", read_phone_number(await request.json_object()))
        return {}

    return routes
