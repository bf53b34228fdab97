"""Writes as data: building a batch does no I/O, applying it is one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgpack

from kvschema.tree import Tree

K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")

PUT, DELETE, ADD, REQUIRE = 0, 1, 2, 3
UNPLACED: Final = (1 << 64) - 1
"""Stands for a position of the stream that is still to be taken: as the end of a key, or first in a record."""
_UNPLACED_IN_KEY: Final = UNPLACED.to_bytes(8, "big")
_UNPLACED_IN_RECORD: Final = msgpack.packb(UNPLACED)


class Write(NamedTuple):
    """One step of a batch, in the order it was staged."""

    op: int
    tree: str
    key: bytes
    value: bytes
    """PUT: the new value. ADD: a signed 8-byte difference. REQUIRE: the value that must be there."""
    append: bool = False
    absent: bool = False
    """REQUIRE: there must be no row."""
    keys: Sequence[bytes] = ()
    """PUT: rows that all get the value, instead of the one of ``key``."""


class WriteBatch:
    """All writes of one operation. They land together or not at all."""

    __slots__ = ("bytes_staged", "may_use_reserve", "writes")

    def __init__(self, *, may_use_reserve: bool = False) -> None:
        self.writes: list[Write] = []
        self.bytes_staged = 0
        self.may_use_reserve = may_use_reserve
        """Frees more than it takes, so it may use the space that is kept for deletes when the disk is full."""

    def __bool__(self) -> bool:
        return bool(self.writes)

    def __iter__(self) -> Iterator[Write]:
        """Row by row."""
        for write in self.writes:
            if not write.keys:
                yield write
            for raw_key in write.keys:
                yield Write(PUT, write.tree, raw_key, write.value)

    def extend(self, other: WriteBatch) -> None:
        """Add the writes of another batch."""
        self.writes += other.writes
        self.bytes_staged += other.bytes_staged

    def extend_at(self, other: WriteBatch, pos: int) -> None:
        """The same, with ``pos`` for ``UNPLACED``. Costs a fraction of encoding the rows."""
        in_key, in_record = pos.to_bytes(8, "big"), msgpack.packb(pos)
        self.writes += [
            Write(op, tree, key.removesuffix(_UNPLACED_IN_KEY) + in_key, value, append)
            if key.endswith(_UNPLACED_IN_KEY)
            else Write(op, tree, key, value.replace(_UNPLACED_IN_RECORD, in_record, 1), append)
            for op, tree, key, value, append, _, _ in other.writes
        ]
        self.bytes_staged += other.bytes_staged

    def put(self, tree: Tree[K, V], key: K, value: V) -> None:
        """Insert or replace."""
        raw_key, raw = tree.key.encode(key), tree.value.encode(value)
        self.bytes_staged += len(raw_key) + len(raw)
        self.writes.append(Write(PUT, tree.name, raw_key, raw, tree.append))

    def put_same(self, tree: Tree[K, V], raw_keys: Sequence[bytes], value: V) -> None:
        """Insert or replace rows of one value, whose keys are encoded already. Costs as little as one of them."""
        raw = tree.value.encode(value)
        self.bytes_staged += sum(map(len, raw_keys)) + len(raw) * len(raw_keys)
        if raw_keys:
            self.writes.append(Write(PUT, tree.name, b"", raw, keys=raw_keys))

    def delete(self, tree: Tree[K, V], key: K) -> None:
        """Remove the row if it is there."""
        self.writes.append(Write(DELETE, tree.name, tree.key.encode(key), b""))

    def add(self, tree: Tree[K, int], key: K, difference: int) -> None:
        """Change a ``COUNT`` inside the transaction; at 0 its row goes away, below 0 the batch is refused."""
        self.writes.append(Write(ADD, tree.name, tree.key.encode(key), difference.to_bytes(8, "big", signed=True)))

    def require(self, tree: Tree[K, V], key: K, value: V) -> None:
        """The batch fails with ``PreconditionFailed`` unless this row holds this value when it is applied."""
        self.writes.append(Write(REQUIRE, tree.name, tree.key.encode(key), tree.value.encode(value)))

    def require_absent(self, tree: Tree[K, V], key: K) -> None:
        """The batch fails with ``PreconditionFailed`` if there is such a row when it is applied."""
        self.writes.append(Write(REQUIRE, tree.name, tree.key.encode(key), b"", absent=True))
