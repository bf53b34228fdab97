"""Typed access to query parameters."""

from __future__ import annotations

from conduit_py.http.request import Request
from conduit_py.matrix.ids import RoomAlias, RoomId, parse_room_alias, parse_room_id
from conduit_py.service.errors import InvalidParam, MissingParam


def require_argument(request: Request, name: str) -> str:
    """A query parameter. Raises ``MissingParam``."""
    value: str | None = request.args.get(name)
    if value is None:
        raise MissingParam(f"The query parameter {name} is missing")
    return value


def choose_argument(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """A query parameter with few values, the first of which is the default. Raises ``InvalidParam``."""
    value: str = request.args.get(name, choices[0])
    if value not in choices:
        raise InvalidParam(f"The query parameter {name} must be one of {', '.join(choices)}")
    return value


def parse_room_id_or_alias(text: str) -> RoomId | RoomAlias:
    """The part of a path that names a room in either way. Raises ``Malformed``."""
    return parse_room_alias(text) if text.startswith("#") else parse_room_id(text)
