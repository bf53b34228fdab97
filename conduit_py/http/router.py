"""Finds the route of a path: a tree of path segments, walked once for each request."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final, NoReturn
from urllib.parse import unquote_to_bytes

from conduit_py.http.errors import BadPath, MethodNotAllowed, Unrecognized
from conduit_py.http.routes import Route, Segment, derived_templates, parse_template

__all__ = ["DuplicateRoute", "Match", "Router"]

Match = tuple[Route, dict[str, str]]

_End = tuple[int, tuple[str, ...]]
"""Which route of the router it is, and the names of the values collected on the way to it."""

_Places = tuple[tuple[str, tuple[str, ...]], ...]
"""The method and the templates of each route."""

_METHOD_ORDER: Final = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")


class DuplicateRoute(ValueError):
    """Two handlers are declared for the same method and path."""


class _Node:
    __slots__ = ("ends", "parameter", "rest", "static")

    def __init__(self) -> None:
        self.static: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rest: dict[str, _End] = {}
        self.ends: dict[str, _End] = {}


class Router:
    """All routes of a server. Literal segments win over parameters, parameters over the rest of a path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises ``DuplicateRoute``."""
        self._routes = tuple(routes)
        try:
            self._root = _build_tree(tuple((route.method, (route.template, *route.aliases)) for route in self._routes))
        except _Taken as taken:
            route, other = (self._routes[index].name for index in taken.routes)
            raise DuplicateRoute(f"{taken.place}: {route} and {other}") from None

    def match(self, method: str, raw_path: bytes) -> Match:
        """The route and its path parameters, each percent-decoded once.

        Raises ``Unrecognized``, ``MethodNotAllowed`` (with the header Allow), ``BadPath``.
        """
        path = raw_path.decode("latin-1")
        segments = path.split("/")
        if "%" in path:
            segments = _decode(segments)
        if segments[0]:
            raise Unrecognized("Unrecognized request")
        values: list[str] = []
        allowed: set[str] = set()
        found = _find(self._root, segments, 1, values, method, allowed)
        if found is None:
            _refuse(allowed)
        index, names = found
        return self._routes[index], dict(zip(names, values, strict=True))


class _Taken(Exception):
    def __init__(self, place: str, *routes: int) -> None:
        super().__init__(place)
        self.place, self.routes = place, routes


@functools.lru_cache(maxsize=4)
def _build_tree(places: _Places) -> _Node:
    """The same for every server with the same operations. Raises ``_Taken``."""
    root = _Node()
    for index, (method, templates) in enumerate(places):
        for template in templates:
            taken = _add(root, index, method, template)
            if taken != index:
                raise _Taken(f"{method} {template}", index, taken)
    for index, (method, templates) in enumerate(places):
        for template in templates:
            for derived in derived_templates(template):
                _add(root, index, method, derived)
    return root


def _add(root: _Node, index: int, method: str, template: str) -> int:
    """The route that has this place: the one that is added, or another that was there before."""
    segments = parse_template(template)
    node = root
    ends = node.ends
    for kind, text in segments:
        if kind is Segment.REST:
            ends = node.rest
            break
        if kind is Segment.LITERAL:
            child = node.static.get(text)
            if child is None:
                child = node.static[text] = _Node()
            node = child
        else:
            if node.parameter is None:
                node.parameter = _Node()
            node = node.parameter
        ends = node.ends
    names = tuple(text for kind, text in segments if kind is not Segment.LITERAL)
    taken = ends.setdefault(method, (index, names))[0]
    if taken == index and method == "GET":
        ends.setdefault("HEAD", (index, names))
    return taken


def _find(node: _Node, segments: list[str], at: int, values: list[str], method: str, allowed: set[str]) -> _End | None:
    if at == len(segments):
        end = node.ends.get(method)
        if end is None and node.rest:
            end = node.rest.get(method)
            if end is not None:
                values.append("")
        if end is None:
            allowed.update(node.ends, node.rest)
        return end
    segment = segments[at]
    child = node.static.get(segment)
    if child is not None:
        end = _find(child, segments, at + 1, values, method, allowed)
        if end is not None:
            return end
    if node.parameter is not None and segment:
        values.append(segment)
        end = _find(node.parameter, segments, at + 1, values, method, allowed)
        if end is not None:
            return end
        values.pop()
    if node.rest:
        end = node.rest.get(method)
        if end is not None:
            values.append("/".join(segments[at:]))
            return end
        allowed.update(node.rest)
    return None


def _refuse(allowed: set[str]) -> NoReturn:
    if not allowed:
        raise Unrecognized("Unrecognized request")
    allow = ", ".join(method for method in _METHOD_ORDER if method in {*allowed, "OPTIONS"})
    raise MethodNotAllowed("Method not allowed", headers={"Allow": allow})


def _decode(segments: list[str]) -> list[str]:
    try:
        return [unquote_to_bytes(segment).decode() if "%" in segment else segment for segment in segments]
    except UnicodeDecodeError as error:
        raise BadPath("The path is not UTF-8") from error
