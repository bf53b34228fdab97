"""What is routed, compared with the operations of the specification."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from tests.spec.source import ROOT, Operation
from tests.spec.table import Extension, Row, Table

__all__ = ["Route", "Verdict", "compare", "find_asked", "load_routes", "refresh"]

ANSWERED = {"client-server", "server-server"}
"""The APIs that others ask us."""

ASKERS = {"application-service": "appservice", "push-gateway": "push_gateway"}
"""Per API that we ask others: the module of ``conduit_py.outbound`` that asks."""


class Route(Protocol):
    """One method and path that the server answers."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str:
        """With Quart's placeholders: ``/_matrix/client/v3/rooms/<room_id>/leave``."""

    @property
    def operation(self) -> str:
        """Name of the function that answers."""

    @property
    def module(self) -> str:
        """Name of the module it is in, or of the OpenAPI file, which is the same."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ``compare`` found."""

    routed: frozenset[Operation]
    misplaced: tuple[str, ...]
    """Routes of an operation that another function or module answers than the one named after it."""
    beyond: frozenset[tuple[str, str]]
    """Method and path of the routes that are neither an operation nor another version's spelling of one."""


def load_routes() -> list[Route]:
    """Every route of the application; none while there is no application."""
    if importlib.util.find_spec("conduit_py.api.app") is None:
        return []
    return list(importlib.import_module("conduit_py.api.app").all_routes())


def compare(operations: Iterable[Operation], routes: Iterable[Route]) -> Verdict:
    by_request: dict[tuple[str, str], list[Operation]] = {}
    for operation in operations:
        if operation.api in ANSWERED:
            by_request.setdefault((operation.method, shape(operation.path)), []).append(operation)
    spellings = {(method, unversioned(path)) for method, path in by_request}

    routed: set[Operation] = set()
    misplaced = []
    beyond = set()
    for route in routes:
        asked = by_request.get((route.method, shape(route.path)))
        if asked is not None:
            routed.update(asked)
            if not any(is_answer(route, operation) for operation in asked):
                misplaced.append(f"{route.method} {route.path}: {route.module}.{route.operation} is not {names(asked)}")
        elif (route.method, unversioned(shape(route.path))) not in spellings:
            beyond.add((route.method, route.path))
    return Verdict(frozenset(routed), tuple(misplaced), frozenset(beyond))


def shape(path: str) -> str:
    """The path with every placeholder the same, so that ``{roomId}`` and ``<room_id>`` agree."""
    return re.sub(r"\{[^}]*\}|<[^>]*>", "{}", path)


def unversioned(path: str) -> str:
    """Without the version, so that ``r0``, ``v3`` and an unstable prefix of the same operation agree.

    ``/rooms/{}/state/{}`` is the spelling of ``/rooms/{}/state/{}/{}`` for an empty state key.
    """
    path = re.sub(r"^/_matrix/(\w+)/(?:r0|v\d+|unstable/[^/]+)/", r"/_matrix/\1/", path)
    return path.replace("/state/{}/{}", "/state/{}")


def is_answer(route: Route, operation: Operation) -> bool:
    # "conduit_py.api.federation.joins_v1", or the OpenAPI file's own name "joins-v1".
    module = route.module.rpartition(".")[2].replace("-", "_")
    return module == operation.module and same_name(route.operation, operation.id)


def same_name(function: str, operation_id: str) -> bool:
    """``redirect_to_idp`` is ``redirectToIdP``: where words part in an abbreviation is a matter of taste."""
    return function.replace("_", "") == operation_id.replace("_", "").lower()


def names(operations: Iterable[Operation]) -> str:
    return " or ".join(f"{operation.module}.{operation.id}" for operation in operations)


def find_asked(operations: Iterable[Operation]) -> frozenset[Operation]:
    """The operations of application services and push gateways that we ask: each by a ``fetch_<operation>``."""
    return frozenset(
        operation
        for operation in operations
        if operation.api in ASKERS
        and any(same_name(name.removeprefix("fetch_"), operation.id) for name in _fetchers(ASKERS[operation.api]))
    )


def _fetchers(module: str) -> list[str]:
    path = ROOT / "conduit_py" / "outbound" / f"{module}.py"
    if not path.exists():
        return []
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node.name for node in nodes if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("fetch_")]


def refresh(
    table: Table, operations: Iterable[Operation], there: Collection[Operation], beyond: Iterable[tuple[str, str]]
) -> Table:
    """``table`` with a row per operation and statuses by what is ``there``; refusals and reasons stay."""
    known = {row.operation: row for row in table.rows}
    rows = []
    for operation in operations:
        row = known.get(operation, Row(operation, "missing"))
        if row.status != "refused":
            row = Row(operation, "yes" if operation in there else "missing", row.reason)
        rows.append(row)
    reasons = {(it.method, it.path): it.reason for it in table.extensions}
    by_path = sorted(beyond, key=lambda request: (request[1], request[0]))
    extensions = [Extension(method, path, reasons.get((method, path), "")) for method, path in by_path]
    return Table(tuple(rows), tuple(extensions))
