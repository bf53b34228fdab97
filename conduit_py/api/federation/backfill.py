"""``GET /_matrix/federation/v1/backfill/{roomId}`` and ``POST /_matrix/federation/v1/get_missing_events/{roomId}``

Spec: server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.federation.params import parse_event_ids, pdus_reply, require_event_ids
from conduit_py.api.fields import Body, get_field, get_strings
from conduit_py.api.params import require_argument
from conduit_py.api.room_query import get_limit
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import ServerName, parse_room_id
from conduit_py.service.errors import InvalidParam, MissingParam
from conduit_py.service.federation.reading.events import EventReads

BODY_BYTES_MAX: Final = 64 * 1024


def routes(
    auth: ServerAuthenticator, events: EventReads, *, server_name: ServerName, now_ms: Callable[[], int]
) -> Routes:
    """The operations of this module."""
    routes = Routes("backfill")

    @routes.get("/_matrix/federation/v1/backfill/<room_id>")
    async def backfill_room(request: Request, room_id: str) -> Raw:
        origin = await auth.require_server(request)
        require_argument(request, "limit")
        event_ids = require_event_ids(request, "v")
        pdus = await events.get_backfill(origin, parse_room_id(room_id), event_ids, limit=get_limit(request) or 0)
        return pdus_reply(server_name, now_ms(), pdus)

    @routes.post("/_matrix/federation/v1/get_missing_events/<room_id>")
    async def get_missing_previous_events(request: Request, room_id: str) -> Raw:
        origin = await auth.require_server(request, bytes_max=BODY_BYTES_MAX)
        body = await request.json_object(bytes_max=BODY_BYTES_MAX)
        for name in ("earliest_events", "latest_events"):
            if name not in body:
                raise MissingParam(f"{name} is missing")
        pdus = await events.get_missing_events(
            origin,
            parse_room_id(room_id),
            earliest_events=parse_event_ids(get_strings(body, "earliest_events")),
            latest_events=parse_event_ids(get_strings(body, "latest_events")),
            limit=_get_count(body, "limit"),
            min_depth=_get_count(body, "min_depth") or 0,
        )
        return Raw(b'{"events":[' + b",".join(pdus) + b"]}")

    return routes


def _get_count(body: Body, name: str) -> int | None:
    value = get_field(body, name, int)
    if value is not None and value < 0:
        raise InvalidParam(f"{name} must not be below zero")
    return value
