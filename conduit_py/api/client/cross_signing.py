"""``/_matrix/client/v3/keys/device_signing`` and ``/_matrix/client/v3/keys/signatures``

Spec: client-server-api/#cross-signing
"""

from __future__ import annotations

from typing import Final

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field
from conduit_py.api.key_fields import require_few
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.device_keys import USAGES
from conduit_py.service.e2ee.cross_signing import CrossSigningService
from conduit_py.service.errors import BadJson

SIGNATURES_MAX: Final = 2_000
"""Users and devices that were signed."""


def routes(auth: Authenticator, cross_signing: CrossSigningService) -> Routes:
    """The operations of this module."""
    routes = Routes("cross_signing")

    @routes.post("/_matrix/client/v3/keys/device_signing/upload")
    async def upload_cross_signing_keys(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        named = ((usage, get_field(body, f"{usage}_key", dict)) for usage in USAGES)
        keys = {usage: key for usage, key in named if key is not None}
        await cross_signing.upload_keys(requester, keys, get_field(body, "auth", dict))
        return {}

    @routes.post("/_matrix/client/v3/keys/signatures/upload")
    async def upload_cross_signing_signatures(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        for by_target in body.values():
            if not isinstance(by_target, dict) or not all(isinstance(it, dict) for it in by_target.values()):
                raise BadJson("The body must be an object of objects of objects")
        require_few(body.values(), SIGNATURES_MAX, "signatures")
        return {"failures": await cross_signing.upload_signatures(requester, body)}

    return routes
