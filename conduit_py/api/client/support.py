"""``GET /.well-known/matrix/support``

Spec: client-server-api/#getwell-knownmatrixsupport
"""

from __future__ import annotations

from conduit_py.config import WellKnown
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import NotFound


def routes(well_known: WellKnown) -> Routes:
    """The operations of this module."""
    routes = Routes("support")
    answer = _build(well_known)

    @routes.get("/.well-known/matrix/support")
    async def get_wellknown_support(request: Request) -> Json:
        if not answer:
            raise NotFound("Nobody is named who gives support for this server")
        return answer

    return routes


def _build(well_known: WellKnown) -> Json:
    contact = {"matrix_id": well_known.support_mxid, "email_address": well_known.support_email}
    named = {name: value for name, value in contact.items() if value}
    answer: dict[str, object] = {}
    if named:
        answer["contacts"] = [{"role": well_known.support_role, **named}]
    if well_known.support_page:
        answer["support_page"] = well_known.support_page
    return answer
