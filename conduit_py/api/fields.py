"""Typed access to the fields of a JSON body: a wrong type is ``M_BAD_JSON`` with the field's name in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from conduit_py.service.errors import BadJson, MissingParam

T = TypeVar("T")
Body = Mapping[str, Any]

_NAMES: Mapping[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    dict: "an object",
    list: "a list",
}


def get_field(body: Body, name: str, kind: type[T]) -> T | None:
    """The field, None where it is absent or null. Raises ``BadJson`` for another type."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadJson(f"{name} must be {_NAMES[kind]}")
    return value


def require_field(body: Body, name: str, kind: type[T]) -> T:
    """The field. Raises ``MissingParam`` where it is absent or null, ``BadJson`` for another type."""
    value = get_field(body, name, kind)
    if value is None:
        raise MissingParam(f"{name} is missing")
    return value


def get_strings(body: Body, name: str) -> tuple[str, ...]:
    """A list of strings, empty where it is absent."""
    values = get_field(body, name, list) or []
    if not all(isinstance(value, str) for value in values):
        raise BadJson(f"{name} must be a list of strings")
    return tuple(values)
