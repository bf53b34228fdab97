"""Reading single events, the state and the members of a room.

Spec: client-server-api/#getting-events-for-a-room
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import choose_argument
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id
from conduit_py.service.rooms.state_reads import StateReads
from conduit_py.service.rooms.timeline import TimelineService

_MEMBERSHIPS = ("", "join", "invite", "knock", "leave", "ban")


def routes(auth: Authenticator, timeline: TimelineService, state: StateReads) -> Routes:
    """The operations of this module."""
    routes = Routes("rooms")

    @routes.get("/_matrix/client/v3/rooms/<room_id>/event/<event_id>")
    async def get_one_room_event(request: Request, room_id: str, event_id: str) -> Raw:
        requester = auth.require_user(request, may_be_guest=True)
        return Raw(timeline.get_event(requester, parse_room_id(room_id), parse_event_id(event_id)))

    @routes.get("/_matrix/client/v3/rooms/<room_id>/state/<event_type>/<path:state_key>")
    async def get_room_state_with_key(request: Request, room_id: str, event_type: str, state_key: str) -> Raw:
        requester = auth.require_user(request, may_be_guest=True)
        is_whole = choose_argument(request, "format", ("content", "event")) == "event"
        return Raw(state.get_state_event(requester, parse_room_id(room_id), event_type, state_key, whole=is_whole))

    @routes.get("/_matrix/client/v3/rooms/<room_id>/state")
    async def get_room_state(request: Request, room_id: str) -> Raw:
        requester = auth.require_user(request, may_be_guest=True)
        return Raw(await state.get_state(requester, parse_room_id(room_id)))

    @routes.get("/_matrix/client/v3/rooms/<room_id>/members")
    async def get_members_by_room(request: Request, room_id: str) -> Raw:
        requester = auth.require_user(request, may_be_guest=True)
        members = await state.get_members(
            requester,
            parse_room_id(room_id),
            at=request.args.get("at") or None,
            membership=choose_argument(request, "membership", _MEMBERSHIPS) or None,
            not_membership=choose_argument(request, "not_membership", _MEMBERSHIPS) or None,
        )
        return Raw(members)

    @routes.get("/_matrix/client/v3/rooms/<room_id>/joined_members")
    async def get_joined_members_by_room(request: Request, room_id: str) -> Raw:
        requester = auth.require_user(request)
        return Raw(await state.get_joined_members(requester, parse_room_id(room_id)))

    return routes
