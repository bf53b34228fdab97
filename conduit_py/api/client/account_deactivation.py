"""``POST /_matrix/client/v3/account/deactivate``

Spec: client-server-api/#post_matrixclientv3accountdeactivate
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.deactivate import DeactivationService


def routes(auth: Authenticator, deactivation: DeactivationService) -> Routes:
    """The operations of this module."""
    routes = Routes("account_deactivation")

    @routes.post("/_matrix/client/v3/account/deactivate")
    async def deactivate_account(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        erase = get_field(body, "erase", bool) or False
        await deactivation.deactivate(requester, get_field(body, "auth", dict), erase=erase)
        # Nobody has third-party identifiers here, and where there are none to unbind the result must be this.
        return {"id_server_unbind_result": "success"}

    return routes
