"""What requests of other servers have in common."""

from __future__ import annotations

from collections.abc import Sequence

from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.matrix.ids import EventId, Malformed, ServerName, parse_event_id
from conduit_py.service.errors import InvalidParam, MissingParam


def require_event_ids(request: Request, name: str) -> list[EventId]:
    """A query parameter that is given once for each event. Raises ``MissingParam`` and ``InvalidParam``."""
    values = request.args.getlist(name)
    if not values:
        raise MissingParam(f"The query parameter {name} is missing")
    return parse_event_ids(values)


def parse_event_ids(values: Sequence[str]) -> list[EventId]:
    """Raises ``InvalidParam``."""
    try:
        return [parse_event_id(value) for value in values]
    except Malformed as error:
        raise InvalidParam(str(error)) from None


def pdus_reply(server_name: ServerName, now_ms: int, pdus: Sequence[bytes]) -> Raw:
    """Events in the form of a transaction. Spec: server-server-api/#transactions"""
    head = b'{"origin":"%s","origin_server_ts":%d,"pdus":[' % (server_name.encode(), now_ms)
    return Raw(head + b",".join(pdus) + b"]}")
