"""``/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device``

Spec: proposals/#3814
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field, require_field
from conduit_py.http.reply import JSON_TYPE, Json, Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.e2ee.dehydrated import DehydratedDevices, Dehydration
from conduit_py.service.e2ee.keys import Upload


def routes(auth: Authenticator, dehydrated: DehydratedDevices) -> Routes:
    """The operations of this module."""
    routes = Routes("dehydrated_devices")
    path = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"

    @routes.put(path)
    async def put_dehydrated_device(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        new = Dehydration(
            device_id=require_field(body, "device_id", str),
            data=require_field(body, "device_data", dict),
            display_name=get_field(body, "initial_device_display_name", str),
            keys=Upload(
                device_keys=require_field(body, "device_keys", dict),
                one_time_keys=get_field(body, "one_time_keys", dict) or {},
                fallback_keys=get_field(body, "fallback_keys", dict) or {},
            ),
        )
        return {"device_id": await dehydrated.put(requester, new)}

    @routes.get(path)
    async def get_dehydrated_device(request: Request) -> Json:
        return dehydrated.require(auth.require_user(request))

    @routes.delete(path)
    async def delete_dehydrated_device(request: Request) -> Json:
        return {"device_id": await dehydrated.delete(auth.require_user(request))}

    @routes.post(path + "/<device_id>/events")
    async def post_dehydrated_device_events(request: Request, device_id: str) -> Raw:
        requester = auth.require_user(request)
        body = await request.json_object()
        events, next_batch = dehydrated.read_messages(requester, device_id, get_field(body, "next_batch", str))
        return Raw(b'{"events":%s,"next_batch":"%s"}' % (events, next_batch.encode()), content_type=JSON_TYPE)

    return routes
