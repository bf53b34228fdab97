"""``/_matrix/client/v3/pushers``

Spec: client-server-api/#push-notifications
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import Body, get_field, require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import InvalidParam, MissingParam
from conduit_py.service.push.pushers import PusherRequest, PusherService

_NEEDED = ("app_display_name", "device_display_name", "lang", "data")


def routes(auth: Authenticator, pushers: PusherService) -> Routes:
    """The operations of this module."""
    routes = Routes("pusher")

    @routes.get("/_matrix/client/v3/pushers")
    async def get_pushers(request: Request) -> Json:
        return {"pushers": pushers.get_pushers(auth.require_user(request))}

    @routes.post("/_matrix/client/v3/pushers/set")
    async def post_pusher(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        if "kind" in body and body["kind"] is None:
            await pushers.delete_pusher(requester, *_parse_key(body))
        else:
            await pushers.set_pusher(requester, _parse_pusher(body))
        return {}

    return routes


def _parse_key(body: Body) -> tuple[str, str]:
    return require_field(body, "app_id", str), require_field(body, "pushkey", str)


def _parse_pusher(body: Body) -> PusherRequest:
    kind = require_field(body, "kind", str)
    app_id, pushkey = _parse_key(body)
    if kind != "http":
        raise InvalidParam('kind must be "http", or null to delete a pusher')
    missing = [name for name in _NEEDED if body.get(name) is None]
    if missing:
        raise MissingParam(f"Missing parameters: {', '.join(missing)}")
    return PusherRequest(
        app_id=app_id,
        pushkey=pushkey,
        app_display_name=require_field(body, "app_display_name", str),
        device_display_name=require_field(body, "device_display_name", str),
        lang=require_field(body, "lang", str),
        profile_tag=get_field(body, "profile_tag", str),
        data=require_field(body, "data", dict),
        append=get_field(body, "append", bool) or False,
    )
