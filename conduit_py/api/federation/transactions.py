"""``PUT /_matrix/federation/v1/send/{txnId}``

Spec: server-server-api/#put_matrixfederationv1sendtxnid
"""

from __future__ import annotations

from typing import Any, Final

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.federation.body import event_body
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import BadJson
from conduit_py.service.federation.receive.receiver import Receiver

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""50 events of the largest size are 3.2 MiB, and 100 EDUs may hold as much again and more."""


def routes(auth: ServerAuthenticator, receiver: Receiver) -> Routes:
    """The operations of this module."""
    routes = Routes("transactions")

    @routes.put("/_matrix/federation/v1/send/<txn_id>")
    async def send_transaction(request: Request, txn_id: str) -> Raw:
        origin, body = await event_body(auth, request, bytes_max=BODY_BYTES_MAX)
        results = await receiver.receive_transaction(origin, txn_id, _list(body, "pdus"), _list(body, "edus"))
        return Raw(b'{"pdus":' + results + b"}")

    return routes


def _list(body: dict[str, Any], name: str) -> list[Any]:
    value = body.get(name, [])
    if not isinstance(value, list):
        raise BadJson(f"{name} must be a list")
    return value
