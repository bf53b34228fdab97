"""``POST /_matrix/federation/v1/user/keys/query`` and ``.../claim``

Spec: server-server-api/#end-to-end-encryption
"""

from __future__ import annotations

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.key_fields import require_algorithms, require_device_ids
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.e2ee.for_servers import KeysForServers


def routes(auth: ServerAuthenticator, keys: KeysForServers) -> Routes:
    """The operations of this module."""
    routes = Routes("user_keys")

    @routes.post("/_matrix/federation/v1/user/keys/query")
    async def query_user_encryption_keys(request: Request) -> Json:
        await auth.require_server(request)
        return await keys.query(require_device_ids(await request.json_object()))

    @routes.post("/_matrix/federation/v1/user/keys/claim")
    async def claim_user_encryption_keys(request: Request) -> Json:
        await auth.require_server(request)
        return await keys.claim(require_algorithms(await request.json_object()))

    return routes
