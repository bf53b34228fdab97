"""``GET /_matrix/client/v3/notifications``

Spec: client-server-api/#get_matrixclientv3notifications
"""

from __future__ import annotations

import re

from conduit_py.api.auth import Authenticator
from conduit_py.api.room_query import get_limit
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import InvalidParam
from conduit_py.service.rooms.notifications import NotificationService

_TOKEN = re.compile(r"[0-9]{1,18}", re.ASCII)


def routes(auth: Authenticator, notifications: NotificationService) -> Routes:
    """The operations of this module."""
    routes = Routes("notifications")

    @routes.get("/_matrix/client/v3/notifications")
    async def get_notifications(request: Request) -> Raw:
        requester = auth.require_user(request)
        token = request.args.get("from") or None
        if token is not None and not _TOKEN.fullmatch(token):
            raise InvalidParam("from must be a token that was handed out by this server")
        return Raw(
            notifications.get_notifications(
                requester,
                before=None if token is None else int(token),
                limit=get_limit(request),
                highlights_only=request.args.get("only") == "highlight",
            )
        )

    return routes
