"""An engine that forgets: the verified fake used by unit tests."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from kvschema.batch import ADD, DELETE, PUT, WriteBatch
from kvschema.codec import KEY_BYTES_MAX
from kvschema.engine import Outcome
from kvschema.engine.steps import added, check_required
from kvschema.errors import BatchRefused


class _Rows:
    """Sorted rows of one tree."""

    __slots__ = ("keys", "values")

    def __init__(self, keys: list[bytes], values: dict[bytes, bytes]) -> None:
        self.keys, self.values = keys, values

    def copy(self) -> _Rows:
        return _Rows(self.keys.copy(), self.values.copy())

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.values:
            insort(self.keys, key)
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        if self.values.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]


class MemoryEngine:
    """Same contract as LMDB, nothing on disk. Trees are copied on write while a snapshot is open."""

    def __init__(self) -> None:
        self._trees: dict[str, _Rows] = {}
        self._snapshots = 0
        self._version = 0

    @contextmanager
    def snapshot(self) -> Iterator[MemoryReader]:
        self._snapshots += 1
        reader = MemoryReader(dict(self._trees), self._version)
        try:
            yield reader
        finally:
            self._snapshots -= 1
            reader.close()

    def measure(self) -> Mapping[str, int]:
        return {}

    def apply(self, batches: Sequence[WriteBatch]) -> list[Outcome]:
        self._version += 1
        return [self._apply(batch) for batch in batches]

    def _apply(self, batch: WriteBatch) -> Outcome:
        undo: list[tuple[_Rows, bytes, bytes | None]] = []
        copied: set[str] = set()
        try:
            for op, tree, key, value, _, absent, _ in batch:
                rows = self._writable(tree, copied)
                current = rows.values.get(key)
                undo.append((rows, key, current))
                if op == PUT:
                    _check_width(tree, key)
                    rows.put(key, value)
                elif op == DELETE:
                    rows.delete(key)
                elif op == ADD:
                    _check_width(tree, key)
                    total = added(tree, key, value, current)
                    rows.delete(key) if total is None else rows.put(key, total)
                else:
                    check_required(tree, key, value, absent, current)
        except BatchRefused as refused:
            for rows, key, before in reversed(undo):
                rows.delete(key) if before is None else rows.put(key, before)
            return refused
        return None

    def _writable(self, tree: str, copied: set[str]) -> _Rows:
        rows = self._trees.get(tree)
        if rows is None:
            rows = self._trees[tree] = _Rows([], {})
        elif self._snapshots and tree not in copied:
            rows = self._trees[tree] = rows.copy()
        copied.add(tree)
        return rows

    def run_exclusively(self, run: Callable[[Callable[[], None]], None] | None) -> None:
        """Nothing ever grows here."""

    def free_dead_readers(self) -> None:
        """No other process reads this."""

    @property
    def is_copy(self) -> bool:
        """There are no files."""
        return False

    def make_own(self) -> None:
        """There are no files."""

    def close(self) -> None:
        """Nothing to let go of."""


def _check_width(tree: str, key: bytes) -> None:
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise BatchRefused(f"a row does not fit the store: a key of {len(key)} bytes in {tree}")


class MemoryReader:
    """A snapshot of the memory engine. Reading from it once it is closed is an error, as with the real one."""

    def __init__(self, trees: dict[str, _Rows], version: int) -> None:
        self._open: dict[str, _Rows] | None = trees
        self.version = version

    @property
    def _trees(self) -> dict[str, _Rows]:
        if self._open is None:
            raise RuntimeError("the snapshot is closed")
        return self._open

    def close(self) -> None:
        self._open = None

    def get(self, tree: str, key: bytes, /) -> bytes | None:
        rows = self._trees.get(tree)
        return None if rows is None else rows.values.get(key)

    def count(self, tree: str, /) -> int:
        rows = self._trees.get(tree)
        return 0 if rows is None else len(rows.keys)

    def scan(
        self, tree: str, prefix: bytes, start: bytes, stop: bytes, reverse: bool, /
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = self._trees.get(tree)
        if rows is None:
            return
        keys = rows.keys
        low, high = bisect_left(keys, prefix), bisect_right(keys, prefix + b"\xff" * KEY_BYTES_MAX)
        if reverse:
            high = bisect_left(keys, start, hi=high) if start else high
            low = max(low, bisect_left(keys, stop)) if stop else low
        else:
            low = max(low, bisect_right(keys, start)) if start else low
            high = bisect_right(keys, stop, hi=high) if stop else high
        chosen = keys[low:high]
        for key in reversed(chosen) if reverse else chosen:
            yield key, rows.values[key]
