"""``PUT /_matrix/federation/v1/send/{txnId}``

Spec: server-server-api/#put_matrixfederationv1sendtxnid
"""

from __future__ import annotations

from typing import Final

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.canonical_json import NotJson
from conduit_py.matrix.json_parts import Parts, find_parts_in_slices
from conduit_py.service.errors import BadJson
from conduit_py.service.federation.receive.receiver import EDUS_MAX, PDUS_MAX, Receiver
from conduit_py.slices import run_slices

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""50 events of the largest size are 3.2 MiB, and 100 EDUs may hold as much again and more."""
ENTRIES_MAX: Final = 10 * (PDUS_MAX + EDUS_MAX)
"""Of all lists and objects in the body: beyond it nothing is looked at any more."""


def routes(auth: ServerAuthenticator, receiver: Receiver) -> Routes:
    """The operations of this module."""
    routes = Routes("transactions")

    @routes.put("/_matrix/federation/v1/send/<txn_id>")
    async def send_transaction(request: Request, txn_id: str) -> Raw:
        origin, text = await auth.require_signed_text(request, bytes_max=BODY_BYTES_MAX)
        try:
            parts = await run_slices(find_parts_in_slices(text, entries_max=ENTRIES_MAX))
        except NotJson as error:
            raise BadJson(f"the body cannot be read: {error}") from None
        results = await receiver.receive_transaction(origin, txn_id, _list(parts, "pdus"), _list(parts, "edus"))
        return Raw(b'{"pdus":' + results + b"}")

    return routes


def _list(parts: Parts, name: str) -> list[bytes]:
    """The objects in a list, each as it came."""
    if name in parts.members or (name in parts.parts and not parts.is_list(name)):
        raise BadJson(f"{name} must be a list")
    return list(parts.get_texts(name))
