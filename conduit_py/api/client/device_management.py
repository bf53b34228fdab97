"""``/_matrix/client/v3/devices``

Spec: client-server-api/#device-management
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field, get_strings, require_field
from conduit_py.http.reply import Answer, Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.devices import DeviceService


def routes(auth: Authenticator, devices: DeviceService) -> Routes:
    """The operations of this module."""
    routes = Routes("device_management")

    @routes.get("/_matrix/client/v3/devices")
    async def get_devices(request: Request) -> Json:
        return {"devices": devices.get_devices(auth.require_user(request, may_be_guest=True))}

    @routes.get("/_matrix/client/v3/devices/<device_id>")
    async def get_device(request: Request, device_id: str) -> Json:
        return devices.require_device(auth.require_user(request, may_be_guest=True), device_id)

    @routes.put("/_matrix/client/v3/devices/<device_id>")
    async def update_device(request: Request, device_id: str) -> Answer:
        requester = auth.require_user(request, may_be_guest=True)
        body = await request.json_object()
        is_new = await devices.rename_device(requester, device_id, get_field(body, "display_name", str))
        return {}, 201 if is_new else 200

    @routes.delete("/_matrix/client/v3/devices/<device_id>")
    async def delete_device(request: Request, device_id: str) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object(may_be_empty=True)
        await devices.delete_devices(requester, [device_id], get_field(body, "auth", dict))
        return {}

    @routes.post("/_matrix/client/v3/delete_devices")
    async def delete_devices(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        require_field(body, "devices", list)
        await devices.delete_devices(requester, get_strings(body, "devices"), get_field(body, "auth", dict))
        return {}

    return routes
