"""``GET /_matrix/client/v1/rooms/{roomId}/threads``

Spec: client-server-api/#get_matrixclientv1roomsroomidthreads
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import choose_argument
from conduit_py.api.room_query import get_limit
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_room_id
from conduit_py.service.errors import InvalidParam
from conduit_py.service.rooms.threads import ThreadQuery, ThreadService


def routes(auth: Authenticator, threads: ThreadService) -> Routes:
    """The operations of this module."""
    routes = Routes("threads_list")

    @routes.get("/_matrix/client/v1/rooms/<room_id>/threads")
    async def get_thread_roots(request: Request, room_id: str) -> Raw:
        requester = auth.require_user(request)
        query = ThreadQuery(
            is_participant=choose_argument(request, "include", ("all", "participated")) == "participated",
            from_token=request.args.get("from") or None,
            limit=_get_limit_above_zero(request),
        )
        return Raw(await threads.get_threads(requester, parse_room_id(room_id), query))

    return routes


def _get_limit_above_zero(request: Request) -> int | None:
    limit = get_limit(request)
    if limit == 0:
        raise InvalidParam("The query parameter limit must be a number above zero")
    return limit
