"""The support table ``operations.toml``: read, written, and shown as ``docs/support.md``.

One row per operation of the specification, one line per row, grouped by API and OpenAPI file, and beside them the
extensions: routes that the specification does not have. Statuses follow from what is routed (``update.py``); reasons,
and which operations are refused, are written by hand.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from tests.spec.source import ROOT, Operation

__all__ = ["SUPPORT", "TABLE", "Extension", "Row", "Status", "Table", "load_table", "render_support", "render_table"]

TABLE = Path(__file__).parent / "operations.toml"
SUPPORT = ROOT / "docs" / "support.md"

Status = Literal["yes", "missing", "refused"]
STATUSES: tuple[Status, ...] = ("yes", "missing", "refused")


@dataclass(frozen=True, slots=True)
class Row:
    """Where one operation stands.

    ``yes``: answered (for the APIs of application services and push gateways: asked by us).
    ``missing``: not there yet. ``refused``: not offered, and ``reason`` says why.
    """

    operation: Operation
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Extension:
    """A route that is not in the specification, and the reason to have it (a proposal's number, a client's need)."""

    method: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    rows: tuple[Row, ...]
    extensions: tuple[Extension, ...]


HEADER = """\
# One row per operation of the Matrix specification.
#
# status   "yes": answered; "missing": not there yet; "refused": not offered, and reason says why.
# Statuses "yes" and "missing" follow from what is routed: python -m tests.spec.update
# Reasons, and which operations are refused, are written here by hand and stay.
"""


def load_table(path: Path = TABLE) -> Table:
    """Raises ``ValueError`` for a status that is none."""
    with path.open("rb") as file:
        document = tomllib.load(file)
    extensions = tuple(Extension(**fields) for fields in document.pop("extension", []))
    rows = [
        _row(Operation(api, file, operation_id, fields["method"], fields["path"]), fields)
        for api, files in document.items()
        for file, operations in files.items()
        for operation_id, fields in operations.items()
    ]
    return Table(tuple(rows), extensions)


def _row(operation: Operation, fields: dict[str, str]) -> Row:
    for status in STATUSES:
        if fields["status"] == status:
            return Row(operation, status, fields.get("reason", ""))
    raise ValueError(f"{operation.api} {operation.id}: {fields['status']} is not a status")


def render_table(table: Table) -> str:
    """The text of ``operations.toml``."""
    parts = [HEADER]
    for (api, file), rows in groupby(table.rows, key=lambda row: (row.operation.api, row.operation.file)):
        lines = [f'[{api}."{file}"]']
        for row in rows:
            fields = {"method": row.operation.method, "path": row.operation.path, "status": row.status}
            if row.reason:
                fields["reason"] = row.reason
            inline = ", ".join(f"{name} = {_quote(value)}" for name, value in fields.items())
            lines.append(f"{row.operation.id} = {{ {inline} }}")
        parts.append("\n".join(lines) + "\n")
    parts += [
        f"[[extension]]\nmethod = {_quote(it.method)}\npath = {_quote(it.path)}\nreason = {_quote(it.reason)}\n"
        for it in table.extensions
    ]
    return "\n".join(parts)


def _quote(text: str) -> str:
    # A JSON string is a TOML basic string.
    return json.dumps(text, ensure_ascii=False)


TITLES = {
    "client-server": "Client-Server API",
    "server-server": "Server-Server API",
    "application-service": "Application Service API (asked by the server)",
    "push-gateway": "Push Gateway API (asked by the server)",
}

SUPPORT_HEADER = """\
# What is supported

Every operation of the Matrix specification, v1.19, and where it stands: **yes**, **missing** or **refused**, with the
reason. A request for an operation that is missing is answered with `M_UNRECOGNIZED`. This page is generated from
`tests/spec/operations.toml` by `python -m tests.spec.update`, and a test keeps both in step with the code.
"""


def render_support(table: Table) -> str:
    """The text of ``docs/support.md``."""
    parts = [SUPPORT_HEADER, _counts(table.rows)]
    for api, rows in groupby(table.rows, key=lambda row: row.operation.api):
        parts.append(f"## {TITLES[api]}\n")
        for file, of_file in groupby(rows, key=lambda row: row.operation.file):
            parts.append(f"### {file.removesuffix('.yaml')}\n")
            parts.append(_markdown(("Operation", "Request", "Status"), map(_cells, of_file)))
    if table.extensions:
        parts.append("## Beyond the specification\n")
        rows_beyond = [(f"`{it.method} {it.path}`", it.reason) for it in table.extensions]
        parts.append(_markdown(("Request", "Why"), rows_beyond))
    return "\n".join(parts)


def _counts(rows: Iterable[Row]) -> str:
    counted = Counter((row.operation.api, row.status) for row in rows)
    apis = [api for api in TITLES if any(counted[api, status] for status in STATUSES)]
    lines = [(TITLES[api], *(str(counted[api, status]) for status in STATUSES)) for api in apis]
    total = ("All", *(str(sum(counted[api, status] for api in apis)) for status in STATUSES))
    return _markdown(("API", *STATUSES), [*lines, total])


def _cells(row: Row) -> tuple[str, str, str]:
    status = f"**{row.status}**" if row.status == "yes" else row.status
    explained = f"{status}: {row.reason}" if row.reason else status
    return row.operation.id, f"`{row.operation.method} {row.operation.path}`", explained


def _markdown(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
