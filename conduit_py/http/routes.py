"""Handlers and the paths they answer, as one module of the API declares them.

A template is a path with parameters, each a whole segment: ``/rooms/<room_id>/send/<event_type>/<txn_id>``. A parameter
is never empty. As the last segment, ``<path:state_key>`` takes the rest of the path, slashes included, and may be
empty, with or without the slash before it.

Every path below ``/_matrix/client/`` and ``/_matrix/media/`` is reachable as ``r0``, ``v1`` and ``v3``, whichever of
the three it was declared with: clients disagree on it, and the differences never changed what a request means. A
template that was declared wins over a spelling that was derived.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any, Final, TypeVar, cast

from conduit_py.http.reply import Answer

__all__ = ["Handler", "Route", "Routes", "Segment", "derived_templates", "parse_template"]

Handler = Callable[..., Awaitable[Answer]]
"""``async def handler(request: Request, room_id: str, ...) -> Answer``: one argument for each path parameter."""

H = TypeVar("H", bound=Handler)

_VERSIONED: Final = re.compile(r"^/_matrix/(client|media)/(r0|v1|v3)/")
_VERSIONS: Final = ("r0", "v1", "v3")
_PARAMETER: Final = re.compile(r"<(?P<rest>path:)?(?P<name>[a-z_][a-z0-9_]*)>")


class Segment(enum.Enum):
    LITERAL = enum.auto()
    PARAMETER = enum.auto()
    REST = enum.auto()


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: a method and a path template, with the handler that answers it."""

    method: str
    template: str
    handler: Handler
    module: str
    """Name of the ``Routes`` it was declared in, which is the file name of the spec's OpenAPI document."""
    aliases: tuple[str, ...] = ()
    """Other templates with the same parameters, such as unstable prefixes."""

    @property
    def name(self) -> str:
        """The handler's name: the spec's ``operationId`` in snake case."""
        return self.handler.__name__


class Routes:
    """The operations of one module."""

    def __init__(self, module: str) -> None:
        self.module = module
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def route(self, method: str, template: str, *aliases: str) -> Callable[[H], H]:
        """Register the decorated handler. Raises ``ValueError`` if a template is none or its parameters differ."""

        def register(handler: H) -> H:
            wanted = _arguments(handler)
            for path in (template, *aliases):
                if _parameters(path) != wanted:
                    raise ValueError(f"{handler.__name__} takes {sorted(wanted)}, which {path} does not give")
            self._routes.append(Route(method, template, handler, self.module, aliases))
            return handler

        return register

    def get(self, template: str, *aliases: str) -> Callable[[H], H]:
        """GET, and HEAD with it."""
        return self.route("GET", template, *aliases)

    def put(self, template: str, *aliases: str) -> Callable[[H], H]:
        return self.route("PUT", template, *aliases)

    def post(self, template: str, *aliases: str) -> Callable[[H], H]:
        return self.route("POST", template, *aliases)

    def delete(self, template: str, *aliases: str) -> Callable[[H], H]:
        return self.route("DELETE", template, *aliases)


@cache
def parse_template(template: str) -> tuple[tuple[Segment, str], ...]:
    """The segments of a template behind its first slash. Raises ``ValueError``."""
    if not template.startswith("/"):
        raise ValueError(f"{template} does not begin with a slash")
    parsed = tuple(_parse_segment(template, text) for text in template[1:].split("/"))
    if any(kind is Segment.REST for kind, _ in parsed[:-1]):
        raise ValueError(f"{template}: only the last segment can take the rest of the path")
    names = [text for kind, text in parsed if kind is not Segment.LITERAL]
    if len(set(names)) != len(names):
        raise ValueError(f"{template} names a parameter twice")
    return parsed


def _parse_segment(template: str, text: str) -> tuple[Segment, str]:
    match = _PARAMETER.fullmatch(text)
    if match is not None:
        return (Segment.REST if match["rest"] else Segment.PARAMETER), match["name"]
    if not text or "<" in text or ">" in text or "{" in text:
        raise ValueError(f"{template}: {text!r} is no segment")
    return Segment.LITERAL, text


def _parameters(template: str) -> set[str]:
    return {text for kind, text in parse_template(template) if kind is not Segment.LITERAL}


@cache
def derived_templates(template: str) -> tuple[str, ...]:
    """The same path under the other versions that clients spell."""
    match = _VERSIONED.match(template)
    if match is None:
        return ()
    area, declared = match.groups()
    rest = template[match.end() :]
    return tuple(f"/_matrix/{area}/{version}/{rest}" for version in _VERSIONS if version != declared)


def _arguments(handler: Callable[..., Any]) -> set[str]:
    code = cast("FunctionType", handler).__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if names[:1] != ("request",):
        raise ValueError(f"{handler.__name__} does not take the request first")
    return set(names[1:])
