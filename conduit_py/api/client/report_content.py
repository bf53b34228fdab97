"""``POST .../rooms/{roomId}/report``, ``.../rooms/{roomId}/report/{eventId}`` and ``.../users/{userId}/report``

Spec: client-server-api/#reporting-content
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field, require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id, parse_user_id
from conduit_py.service.users.reports import ReportService


def routes(auth: Authenticator, reports: ReportService) -> Routes:
    """The operations of this module."""
    routes = Routes("report_content")

    @routes.post("/_matrix/client/v3/rooms/<room_id>/report")
    async def report_room(request: Request, room_id: str) -> Json:
        requester = auth.require_user(request)
        reason = require_field(await request.json_object(), "reason", str)
        await reports.report_room(requester, parse_room_id(room_id), reason)
        return {}

    @routes.post("/_matrix/client/v3/rooms/<room_id>/report/<event_id>")
    async def report_event(request: Request, room_id: str, event_id: str) -> Json:
        requester = auth.require_user(request)
        reason = get_field(await request.json_object(may_be_empty=True), "reason", str) or ""
        await reports.report_event(requester, parse_room_id(room_id), parse_event_id(event_id), reason)
        return {}

    @routes.post("/_matrix/client/v3/users/<user_id>/report")
    async def report_user(request: Request, user_id: str) -> Json:
        requester = auth.require_user(request)
        reason = require_field(await request.json_object(), "reason", str)
        await reports.report_user(requester, parse_user_id(user_id), reason)
        return {}

    return routes
