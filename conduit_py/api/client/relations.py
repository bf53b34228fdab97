"""``GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}``, all of them, of one kind, or of one kind and type.

Spec: client-server-api/#relationships-api
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import choose_argument
from conduit_py.api.room_query import get_limit
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_event_id, parse_room_id
from conduit_py.service.rooms.relations import RelationQuery, RelationService

_RELATIONS = "/_matrix/client/v1/rooms/<room_id>/relations/<event_id>"


def routes(auth: Authenticator, relations: RelationService) -> Routes:
    """The operations of this module."""
    routes = Routes("relations")

    async def get_page(
        request: Request, room_id: str, event_id: str, rel_type: str | None, event_type: str | None
    ) -> Raw:
        requester = auth.require_user(request)
        query = RelationQuery(
            rel_type=rel_type,
            event_type=event_type,
            is_backwards=choose_argument(request, "dir", ("b", "f")) == "b",
            from_token=request.args.get("from") or None,
            to_token=request.args.get("to") or None,
            limit=get_limit(request),
            recurse=_get_recurse(request),
        )
        page = await relations.get_relations(requester, parse_room_id(room_id), parse_event_id(event_id), query)
        return Raw(page)

    @routes.get(_RELATIONS)
    async def get_relating_events(request: Request, room_id: str, event_id: str) -> Raw:
        return await get_page(request, room_id, event_id, None, None)

    @routes.get(f"{_RELATIONS}/<rel_type>")
    async def get_relating_events_with_rel_type(request: Request, room_id: str, event_id: str, rel_type: str) -> Raw:
        return await get_page(request, room_id, event_id, rel_type, None)

    @routes.get(f"{_RELATIONS}/<rel_type>/<event_type>")
    async def get_relating_events_with_rel_type_and_event_type(
        request: Request, room_id: str, event_id: str, rel_type: str, event_type: str
    ) -> Raw:
        return await get_page(request, room_id, event_id, rel_type, event_type)

    return routes


def _get_recurse(request: Request) -> bool | None:
    if request.args.get("recurse") is None:
        return None
    return choose_argument(request, "recurse", ("false", "true")) == "true"
