"""Typed access to query parameters."""

from __future__ import annotations

import contextlib
from typing import Final

from conduit_py.http.request import Request
from conduit_py.matrix.ids import (
    Malformed,
    RoomAlias,
    RoomId,
    ServerName,
    parse_room_alias,
    parse_room_id,
    parse_server_name,
)
from conduit_py.service.errors import InvalidParam, MissingParam

VIA_MAX: Final = 50


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
        raise InvalidParam(f"The query parameter {name} must be one of {', '.join(filter(None, choices))}")
    return value


def parse_room_id_or_alias(text: str) -> RoomId | RoomAlias:
    """The part of a path that names a room in either way. Raises ``Malformed``."""
    return parse_room_alias(text) if text.startswith("#") else parse_room_id(text)


def get_via(request: Request) -> list[ServerName]:
    """Servers that may be in a room: ``via``, and ``server_name``, as it was called before. What is none is left out.

    Spec: client-server-api/#post_matrixclientv3joinroomidoralias
    """
    named = []
    for text in [*request.args.getlist("via"), *request.args.getlist("server_name")][:VIA_MAX]:
        with contextlib.suppress(Malformed):
            named.append(parse_server_name(text))
    return named
