"""``POST /_matrix/client/v3/search``

Spec: client-server-api/#post_matrixclientv3search
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import Body, get_field, get_strings, require_field
from conduit_py.http.reply import Json, Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.filters import parse_room_event_filter
from conduit_py.service.errors import BadJson, InvalidParam
from conduit_py.service.rooms.search import TYPE_OF_KEY, GroupKey, Order, SearchQuery
from conduit_py.service.rooms.search_pages import CONTEXT_DEFAULT, GROUP_KEYS, Around, SearchService, Telling

_ORDERS: dict[str, Order] = {"rank": "rank", "recent": "recent"}


def routes(auth: Authenticator, searches: SearchService) -> Routes:
    """The operations of this module."""
    routes = Routes("search")

    @routes.post("/_matrix/client/v3/search")
    async def search(request: Request) -> Json | Raw:
        requester = auth.require_user(request)
        body = await request.json_object()
        criteria = get_field(require_field(body, "search_categories", dict), "room_events", dict)
        if criteria is None:
            return {"search_categories": {}}
        telling = _parse_telling(criteria, next_batch=request.args.get("next_batch") or None)
        return Raw(await searches.search(requester, _parse_query(criteria), telling))

    return routes


def _parse_query(criteria: Body) -> SearchQuery:
    keys = get_strings(criteria, "keys") or tuple(TYPE_OF_KEY)
    if unknown := [key for key in keys if key not in TYPE_OF_KEY]:
        raise InvalidParam(f"{unknown[0]} cannot be searched: keys are {', '.join(TYPE_OF_KEY)}")
    order = get_field(criteria, "order_by", str) or "rank"
    if order not in _ORDERS:
        raise InvalidParam("order_by must be rank or recent")
    return SearchQuery(
        term=require_field(criteria, "search_term", str),
        types=frozenset(TYPE_OF_KEY[key] for key in keys),
        order=_ORDERS[order],
        filter=parse_room_event_filter(get_field(criteria, "filter", dict) or {}),
    )


def _parse_telling(criteria: Body, *, next_batch: str | None) -> Telling:
    context = get_field(criteria, "event_context", dict)
    groupings = get_field(criteria, "groupings", dict) or {}
    return Telling(
        around=None if context is None else _parse_around(context),
        include_state=get_field(criteria, "include_state", bool) or False,
        group_by=_parse_groups(get_field(groupings, "group_by", list) or []),
        next_batch=next_batch,
    )


def _parse_around(context: Body) -> Around:
    return Around(
        before_limit=_parse_limit(context, "before_limit"),
        after_limit=_parse_limit(context, "after_limit"),
        include_profile=get_field(context, "include_profile", bool) or False,
    )


def _parse_limit(context: Body, name: str) -> int:
    limit = get_field(context, name, int)
    if limit is None:
        return CONTEXT_DEFAULT
    if limit < 0:
        raise InvalidParam(f"{name} must not be below zero")
    return limit


def _parse_groups(entries: list[object]) -> tuple[GroupKey, ...]:
    wanted = [entry.get("key") if isinstance(entry, dict) else None for entry in entries]
    if not all(key in GROUP_KEYS for key in wanted):
        raise BadJson("each entry of group_by must have the key room_id or sender")
    return tuple(key for key in GROUP_KEYS if key in wanted)
