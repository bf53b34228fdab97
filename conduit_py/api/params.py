"""Typed access to the properties of a body and to query parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit_py.http.request import Request
from conduit_py.service.errors import BadJson, InvalidParam, MissingParam

Body = Mapping[str, Any]


def get_string(body: Body, name: str) -> str | None:
    """None where the property is absent or null. Raises ``BadJson`` for another type."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadJson(f"{name} must be a string")
    return value


def require_string(body: Body, name: str) -> str:
    """Raises ``MissingParam`` or ``BadJson``."""
    value = get_string(body, name)
    if value is None:
        raise MissingParam(f"{name} is missing")
    return value


def get_boolean(body: Body, name: str, *, default: bool = False) -> bool:
    """Raises ``BadJson`` for another type."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadJson(f"{name} must be a boolean")
    return value


def get_object(body: Body, name: str) -> dict[str, Any] | None:
    """Raises ``BadJson`` for another type."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise BadJson(f"{name} must be an object")
    return value


def require_strings(body: Body, name: str) -> list[str]:
    """A list of strings. Raises ``MissingParam`` or ``BadJson``."""
    value = body.get(name)
    if value is None:
        raise MissingParam(f"{name} is missing")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadJson(f"{name} must be a list of strings")
    return value


def require_argument(request: Request, name: str) -> str:
    """A query parameter. Raises ``MissingParam``."""
    value = request.args.get(name)
    if value is None:
        raise MissingParam(f"The query parameter {name} is missing")
    return value


def choose_argument(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """A query parameter with few values, the first of which is the default. Raises ``InvalidParam``."""
    value = request.args.get(name, choices[0])
    if value not in choices:
        raise InvalidParam(f"The query parameter {name} must be one of {', '.join(choices)}")
    return value
