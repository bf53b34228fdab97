"""How something wrong is planted into a healthy store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from conduit_py.data.timeline import split_pdu
from conduit_py.matrix.canonical_json import parse_json
from kvschema.batch import PUT, Write, WriteBatch
from kvschema.catalog import (
    timeline,
)
from kvschema.catalog.timeline import EventRow
from kvschema.tree import Reader, Tree

K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")

NOBODY = 77
"""A short id that is given to nothing."""


class Planter:
    """Writes what no server writes."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.batch = WriteBatch()

    def first(self, tree: Tree[K, V], where: Callable[[K, V], bool] = lambda key, value: True) -> tuple[K, V]:
        return next((key, value) for key, value in tree.scan(self.reader) if where(key, value))

    def put(self, tree: Tree[K, V], key: K, value: V) -> None:
        self.batch.put(tree, key, value)

    def drop_first(self, tree: Tree[K, V], where: Callable[[K, V], bool] = lambda key, value: True) -> None:
        self.batch.delete(tree, self.first(tree, where)[0])

    def put_raw(self, tree: Tree[Any, Any], key: bytes, value: bytes) -> None:
        self.batch.writes.append(Write(PUT, tree.name, key, value))

    def event(self, type: str) -> tuple[timeline.ByShortEvent, EventRow]:
        """The last event of a type that was not redacted."""
        wanted = f'"type":"{type}"'.encode()
        rows = timeline.SHORTEVENTID_PDU.scan(self.reader)
        return [(key, row) for key, row in rows if row.client.endswith(wanted) and not row.redacted_by][-1]

    def change_event(self, type: str, **fields: Any) -> None:
        key, row = self.event(type)
        self.put(timeline.SHORTEVENTID_PDU, key, row._replace(**fields))

    def change_json(self, type: str, **members: Any) -> None:
        """Another body under the same id."""
        _, row = self.event(type)
        json = parse_json(b"{" + row.client + b"," + row.federation + b"}") | members
        client, federation = split_pdu(json)
        self.change_event(type, client=client, federation=federation)


class Plants(dict[str, tuple[str, Callable[[Planter], None]]]):
    """What the sentence begins with, and how it is planted; by name."""

    def add(self, says: str) -> Callable[[Callable[[Planter], None]], Callable[[Planter], None]]:
        def add(function: Callable[[Planter], None]) -> Callable[[Planter], None]:
            self[function.__name__] = says, function
            return function

        return add
