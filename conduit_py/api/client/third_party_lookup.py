"""``/_matrix/client/v3/thirdparty/...``: what application services know of other networks.

Spec: client-server-api/#third-party-lookups
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import require_argument
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.appservices.third_party import ThirdPartyService

_OURS = frozenset({"access_token", "user_id", "device_id"})
"""Parameters that are not fields of the network."""


def routes(auth: Authenticator, third_party: ThirdPartyService) -> Routes:
    """The operations of this module."""
    routes = Routes("third_party_lookup")

    @routes.get("/_matrix/client/v3/thirdparty/protocols")
    async def get_protocols(request: Request) -> Json:
        auth.require_user(request)
        return await third_party.get_protocols()

    @routes.get("/_matrix/client/v3/thirdparty/protocol/<protocol>")
    async def get_protocol_metadata(request: Request, protocol: str) -> Json:
        auth.require_user(request)
        return await third_party.require_protocol(protocol)

    @routes.get("/_matrix/client/v3/thirdparty/location/<protocol>")
    async def query_location_by_protocol(request: Request, protocol: str) -> Json:
        auth.require_user(request)
        return list(await third_party.find_locations(protocol, _fields(request)))

    @routes.get("/_matrix/client/v3/thirdparty/user/<protocol>")
    async def query_user_by_protocol(request: Request, protocol: str) -> Json:
        auth.require_user(request)
        return list(await third_party.find_users(protocol, _fields(request)))

    @routes.get("/_matrix/client/v3/thirdparty/location")
    async def query_location_by_alias(request: Request) -> Json:
        auth.require_user(request)
        return list(await third_party.require_locations_of(require_argument(request, "alias")))

    @routes.get("/_matrix/client/v3/thirdparty/user")
    async def query_user_by_id(request: Request) -> Json:
        auth.require_user(request)
        return list(await third_party.require_users_of(require_argument(request, "userid")))

    return routes


def _fields(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.args.items() if name not in _OURS}
