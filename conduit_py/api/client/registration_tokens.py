"""``/_matrix/client/v1/register/m.login.registration_token``

Spec: client-server-api/#token-authenticated-registration
"""

from __future__ import annotations

from conduit_py.api.params import require_argument
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.register import RegisterService


def routes(registrations: RegisterService) -> Routes:
    routes = Routes("registration_tokens")

    @routes.get("/_matrix/client/v1/register/m.login.registration_token/validity")
    async def registration_token_validity(request: Request) -> Json:
        return {"valid": registrations.is_registration_token(require_argument(request, "token"))}

    return routes
