"""``/_matrix/client/v3/login``

Spec: client-server-api/#legacy-login
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator, find_token
from conduit_py.api.client.session import read_device_request, render_session
from conduit_py.api.fields import get_field, require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.login import LoginRequest, LoginService


def routes(auth: Authenticator, logins: LoginService, *, base_url: str) -> Routes:
    """``base_url`` is what ``/.well-known/matrix/client`` tells."""
    routes = Routes("login")

    @routes.get("/_matrix/client/v3/login")
    async def get_login_flows(request: Request) -> Json:
        return {"flows": logins.get_flows()}

    @routes.post("/_matrix/client/v3/login")
    async def login(request: Request) -> Json:
        body = await request.json_object()
        session = await logins.log_in(
            LoginRequest(
                type=require_field(body, "type", str),
                identifier=get_field(body, "identifier", dict),
                user=get_field(body, "user", str),
                password=get_field(body, "password", str),
                token=get_field(body, "token", str),
                access_token=find_token(request),
                device=read_device_request(body, auth.client_address(request)),
            )
        )
        return {**render_session(session), "well_known": {"m.homeserver": {"base_url": base_url}}}

    return routes
