"""``/_matrix/client/v3/keys``

Spec: client-server-api/#end-to-end-encryption
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import Body, get_field
from conduit_py.api.key_fields import require_algorithms, require_device_ids
from conduit_py.api.params import require_argument
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.sync_token import parse_sync_token
from conduit_py.service.e2ee.device_lists import DeviceLists
from conduit_py.service.e2ee.keys import KeyService, Upload
from conduit_py.service.errors import InvalidParam


def routes(auth: Authenticator, keys: KeyService, lists: DeviceLists) -> Routes:
    """The operations of this module."""
    routes = Routes("keys")

    @routes.post("/_matrix/client/v3/keys/upload")
    async def upload_keys(request: Request) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        body = await request.json_object()
        upload = Upload(
            device_keys=get_field(body, "device_keys", dict),
            one_time_keys=get_field(body, "one_time_keys", dict) or {},
            fallback_keys=get_field(body, "fallback_keys", dict) or {},
        )
        return {"one_time_key_counts": await keys.upload(requester, upload)}

    @routes.post("/_matrix/client/v3/keys/query")
    async def query_keys(request: Request) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        body = await request.json_object()
        return await keys.query(requester, require_device_ids(body), timeout_ms=_get_timeout(body))

    @routes.post("/_matrix/client/v3/keys/claim")
    async def claim_keys(request: Request) -> Json:
        auth.require_user(request, may_be_guest=True)
        body = await request.json_object()
        return await keys.claim(require_algorithms(body), timeout_ms=_get_timeout(body))

    @routes.get("/_matrix/client/v3/keys/changes")
    async def get_keys_changes(request: Request) -> Json:
        requester = auth.require_user(request)
        since = parse_sync_token(require_argument(request, "from"))
        parse_sync_token(require_argument(request, "to"))
        changes = await lists.get_changes(requester, since)
        return {"changed": changes.changed, "left": changes.left}

    return routes


def _get_timeout(body: Body) -> int | None:
    timeout_ms = get_field(body, "timeout", int)
    if timeout_ms is not None and timeout_ms < 0:
        raise InvalidParam("timeout must not be negative")
    return timeout_ms
