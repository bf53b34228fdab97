"""``POST /_matrix/client/v1/appservice/{appserviceId}/ping``

Spec: client-server-api/#post_matrixclientv1appserviceappserviceidping
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.appservices.ping import PingService


def routes(auth: Authenticator, pings: PingService) -> Routes:
    """The operations of this module."""
    routes = Routes("appservice_ping")

    @routes.post("/_matrix/client/v1/appservice/<appservice_id>/ping")
    async def ping_appservice(request: Request, appservice_id: str) -> Json:
        appservice = auth.require_appservice(request)
        body = await request.json_object(may_be_empty=True)
        return {"duration_ms": await pings.ping(appservice, appservice_id, get_field(body, "transaction_id", str))}

    return routes
