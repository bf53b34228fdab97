"""``/_matrix/client/v3/register``

Spec: client-server-api/#legacy-account-registration
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator, find_token
from conduit_py.api.client.session import read_device_request, render_session
from conduit_py.api.fields import get_field
from conduit_py.api.params import choose_argument, require_argument
from conduit_py.api.validation_request import read_email, read_phone_number
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.contacts import ContactService
from conduit_py.service.users.register import Registered, RegisterService, Registration
from conduit_py.service.users.sessions import DeviceRequest


def routes(auth: Authenticator, registrations: RegisterService, contacts: ContactService) -> Routes:
    routes = Routes("registration")

    @routes.post("/_matrix/client/v3/register")
    async def register(request: Request) -> Json:
        kind = choose_argument(request, "kind", ("user", "guest"))
        body = await request.json_object(may_be_empty=True)
        address = auth.client_address(request)
        if kind == "guest":
            # Of the body, a guest's registration heeds the display name and nothing else.
            name = get_field(body, "initial_device_display_name", str)
            return _render(await registrations.register_guest(DeviceRequest(display_name=name, address=address)))
        asked = Registration(
            username=get_field(body, "username", str),
            password=get_field(body, "password", str),
            auth=get_field(body, "auth", dict),
            type=get_field(body, "type", str),
            access_token=find_token(request),
            guest_access_token=get_field(body, "guest_access_token", str),
            wants_session=not get_field(body, "inhibit_login", bool),
            device=read_device_request(body, address),
        )
        return _render(await registrations.register(asked))

    @routes.get("/_matrix/client/v3/register/available")
    async def check_username_availability(request: Request) -> Json:
        registrations.check_username(require_argument(request, "username"))
        return {"available": True}

    @routes.post("/_matrix/client/v3/register/email/requestToken")
    async def request_token_to_register_email(request: Request) -> Json:
        read_email(await request.json_object())
        contacts.validate_new("email")
        return {}

    @routes.post("/_matrix/client/v3/register/msisdn/requestToken")
    async def request_token_to_register_msisdn(request: Request) -> Json:
        read_phone_number(await request.json_object())
        contacts.validate_new("msisdn")
        return {}

    return routes


def _render(registered: Registered) -> Json:
    session = registered.session
    return {"user_id": registered.user_id} if session is None else render_session(session)
