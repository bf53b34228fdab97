"""``POST /_matrix/client/v3/refresh``

Spec: client-server-api/#post_matrixclientv3refresh
"""

from __future__ import annotations

from conduit_py.api.client.session import render_tokens
from conduit_py.api.fields import require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.tokens import TokenService


def routes(tokens: TokenService) -> Routes:
    routes = Routes("refresh")

    @routes.post("/_matrix/client/v3/refresh")
    async def refresh(request: Request) -> Json:
        body = await request.json_object()
        return render_tokens(await tokens.refresh(require_field(body, "refresh_token", str)))

    return routes
