"""``GET /_matrix/key/v2/server``

Answered even while this server does not talk with others: what it signed before has to stay verifiable.

Spec: server-server-api/#get_matrixkeyv2server
"""

from __future__ import annotations

from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.federation.own_keys import OwnKeys


def routes(own_keys: OwnKeys) -> Routes:
    """The operations of this module."""
    routes = Routes("keys_server")

    @routes.get("/_matrix/key/v2/server")
    async def get_server_key(request: Request) -> Json:
        return own_keys.get_published()

    @routes.get("/_matrix/key/v2/server/<key_id>")
    async def get_server_key_by_id(request: Request, key_id: str) -> Json:
        """The older spelling. The answer has every key, as it always could."""
        return own_keys.get_published()

    return routes
