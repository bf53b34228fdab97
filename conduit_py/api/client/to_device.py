"""``PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}``

Spec: client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid
"""

from __future__ import annotations

from typing import Final

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import require_field
from conduit_py.api.key_fields import require_few
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.e2ee.to_device import ToDeviceService
from conduit_py.service.errors import BadJson

MESSAGES_MAX: Final = 3_000
"""Clients send some hundred at a time."""


def routes(auth: Authenticator, to_device: ToDeviceService) -> Routes:
    """The operations of this module."""
    routes = Routes("to_device")

    @routes.put("/_matrix/client/v3/sendToDevice/<event_type>/<txn_id>")
    async def send_to_device(request: Request, event_type: str, txn_id: str) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        messages = require_field(await request.json_object(), "messages", dict)
        for by_device in messages.values():
            if not isinstance(by_device, dict) or not all(isinstance(it, dict) for it in by_device.values()):
                raise BadJson("messages must be an object of objects of objects")
        require_few(messages.values(), MESSAGES_MAX, "messages")
        await to_device.send(requester, event_type, txn_id, messages)
        return {}

    return routes
