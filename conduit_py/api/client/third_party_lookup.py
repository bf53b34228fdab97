"""``/_matrix/client/v3/thirdparty/...``: what application services know of other networks, and there are none yet.

Spec: client-server-api/#third-party-lookups
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import require_argument
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import NotFound


def routes(auth: Authenticator) -> Routes:
    """The operations of this module."""
    routes = Routes("third_party_lookup")

    @routes.get("/_matrix/client/v3/thirdparty/protocols")
    async def get_protocols(request: Request) -> Json:
        auth.require_user(request)
        return {}

    @routes.get("/_matrix/client/v3/thirdparty/protocol/<protocol>")
    async def get_protocol_metadata(request: Request, protocol: str) -> Json:
        auth.require_user(request)
        raise _no_protocol()

    @routes.get("/_matrix/client/v3/thirdparty/location/<protocol>")
    async def query_location_by_protocol(request: Request, protocol: str) -> Json:
        auth.require_user(request)
        raise _no_protocol()

    @routes.get("/_matrix/client/v3/thirdparty/user/<protocol>")
    async def query_user_by_protocol(request: Request, protocol: str) -> Json:
        auth.require_user(request)
        raise _no_protocol()

    @routes.get("/_matrix/client/v3/thirdparty/location")
    async def query_location_by_alias(request: Request) -> Json:
        auth.require_user(request)
        require_argument(request, "alias")
        raise NotFound("No application service knows this room")

    @routes.get("/_matrix/client/v3/thirdparty/user")
    async def query_user_by_id(request: Request) -> Json:
        auth.require_user(request)
        require_argument(request, "userid")
        raise NotFound("No application service knows this user")

    return routes


def _no_protocol() -> NotFound:
    return NotFound("No application service speaks this protocol")
