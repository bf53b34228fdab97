"""What clients asked for before there was /sync, and some still do: ``/events``, ``/initialSync``.

Spec: client-server-api/#get_matrixclientv3events
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import choose_argument
from conduit_py.api.room_query import get_count, get_limit
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id
from conduit_py.service.rooms.event_stream import EventStream
from conduit_py.service.rooms.room_snapshots import RoomSnapshots


def routes(auth: Authenticator, stream: EventStream, snapshots: RoomSnapshots) -> Routes:
    """The operations of this module, and with a ``room_id`` that of ``peeking_events``: they share a path."""
    routes = Routes("old_sync")

    @routes.get("/_matrix/client/v3/events")
    async def get_events(request: Request) -> Raw:
        requester = auth.require_user(request, may_be_guest=True)
        room_id = request.args.get("room_id")
        return Raw(
            await stream.get_events(
                requester,
                from_token=request.args.get("from") or None,
                timeout_ms=get_count(request, "timeout"),
                room_id=None if room_id is None else parse_room_id(room_id),
            )
        )

    @routes.get("/_matrix/client/v3/events/<event_id>")
    async def get_one_event(request: Request, event_id: str) -> Raw:
        requester = auth.require_user(request)
        return Raw(snapshots.get_event(requester, parse_event_id(event_id)))

    @routes.get("/_matrix/client/v3/initialSync")
    async def initial_sync(request: Request) -> Raw:
        requester = auth.require_user(request)
        is_archived = choose_argument(request, "archived", ("false", "true")) == "true"
        return Raw(await snapshots.get_all(requester, limit=get_limit(request), is_archived=is_archived))

    return routes
