"""``/_matrix/federation/v1/``: ``event``, ``state``, ``state_ids`` and ``timestamp_to_event``

Spec: server-server-api/#retrieving-events
"""

from __future__ import annotations

from collections.abc import Callable

from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.federation.params import pdus_reply
from conduit_py.api.params import choose_argument, require_argument
from conduit_py.api.room_query import parse_time
from conduit_py.http.reply import JSON_TYPE, Json, Raw, Streamed
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import EventId, ServerName, parse_event_id, parse_room_id
from conduit_py.service.federation.reading.events import EventReads
from conduit_py.service.federation.reading.states import StateReads


def routes(
    auth: ServerAuthenticator,
    events: EventReads,
    states: StateReads,
    *,
    server_name: ServerName,
    now_ms: Callable[[], int],
) -> Routes:
    """The operations of this module."""
    routes = Routes("events")

    @routes.get("/_matrix/federation/v1/event/<event_id>")
    async def get_event(request: Request, event_id: str) -> Raw:
        origin = await auth.require_server(request)
        pdu = await events.get_event(origin, parse_event_id(event_id))
        return pdus_reply(server_name, now_ms(), [pdu])

    @routes.get("/_matrix/federation/v1/state/<room_id>")
    async def get_room_state(request: Request, room_id: str) -> Streamed:
        origin = await auth.require_server(request)
        return Streamed(states.get_state(origin, parse_room_id(room_id), _event_id(request)), JSON_TYPE)

    @routes.get("/_matrix/federation/v1/state_ids/<room_id>")
    async def get_room_state_ids(request: Request, room_id: str) -> Streamed:
        origin = await auth.require_server(request)
        return Streamed(states.get_state_ids(origin, parse_room_id(room_id), _event_id(request)), JSON_TYPE)

    @routes.get("/_matrix/federation/v1/timestamp_to_event/<room_id>")
    async def get_event_by_timestamp(request: Request, room_id: str) -> Json:
        origin = await auth.require_server(request)
        ts_ms = parse_time(require_argument(request, "ts"))
        require_argument(request, "dir")
        is_backwards = choose_argument(request, "dir", ("f", "b")) == "b"
        event_id, found_ms = await events.find_by_time(origin, parse_room_id(room_id), ts_ms, is_backwards=is_backwards)
        return {"event_id": event_id, "origin_server_ts": found_ms}

    return routes


def _event_id(request: Request) -> EventId:
    return parse_event_id(require_argument(request, "event_id"))
