"""Query parameters of the operations that read rooms."""

from __future__ import annotations

import re

from conduit_py.http.request import Request, parse_json_object
from conduit_py.matrix.filters import NO_ROOM_EVENT_FILTER, RoomEventFilter, parse_room_event_filter
from conduit_py.service.errors import InvalidParam

_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_TIME = re.compile(r"-?[0-9]{1,16}", re.ASCII)


def get_limit(request: Request) -> int | None:
    """How many are wanted at the most. Raises ``InvalidParam``."""
    return get_count(request, "limit")


def get_count(request: Request, name: str) -> int | None:
    """A number that is not below zero. Raises ``InvalidParam``."""
    text: str | None = request.args.get(name)
    if text is None:
        return None
    if not _COUNT.fullmatch(text):
        raise InvalidParam(f"The query parameter {name} must be a number that is not below zero")
    return int(text)


def parse_time(text: str) -> int:
    """A time in ms. Raises ``InvalidParam``."""
    if not _TIME.fullmatch(text):
        raise InvalidParam("The query parameter ts must be a time in ms")
    return int(text)


def get_filter(request: Request) -> RoomEventFilter:
    """The filter, given as JSON. Raises ``NotJson``, ``BadJson`` or ``InvalidFilter``."""
    text: str | None = request.args.get("filter")
    if not text:
        return NO_ROOM_EVENT_FILTER
    return parse_room_event_filter(parse_json_object(text.encode("utf-8", "surrogatepass")))
