"""How a derived tree is compared with what it follows from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from conduit_py.storage.database import Snapshot
from kvschema.tree import Tree

K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")


def compare_tree(
    snapshot: Snapshot, tree: Tree[K, V], expected: Iterable[tuple[K, V]], follows: Callable[[K, V], bool]
) -> Iterator[str]:
    """Every row of ``expected`` is stored as it is, and every stored row ``follows``. Streams both."""
    for key, value in expected:
        if not tree.has(snapshot, key):
            yield f"{tree.name}: {key} is missing"
        elif (stored := tree.get(snapshot, key)) != value:
            yield f"{tree.name}: {key} holds {stored} instead of {value}"
    for key, value in tree.scan(snapshot):
        if not follows(key, value):
            yield f"{tree.name}: {key} follows from nothing"


def compare_rows(tree: Tree[K, V], stored: Mapping[K, V], expected: Mapping[K, V]) -> Iterator[str]:
    """The same for the part of a tree that fits into memory, such as one room's."""
    for key in sorted(expected.keys() - stored.keys()):
        yield f"{tree.name}: {key} is missing"
    for key in sorted(stored.keys() - expected.keys()):
        yield f"{tree.name}: {key} follows from nothing"
    for key in sorted(stored.keys() & expected.keys()):
        if stored[key] != expected[key]:
            yield f"{tree.name}: {key} holds {stored[key]} instead of {expected[key]}"


def scan_owners(snapshot: Snapshot, tree: Tree[Any, Any]) -> Iterator[int]:
    """The distinct values of a key's first field, a number, in order."""
    last = None
    for key in tree.scan_keys(snapshot):
        if key[0] != last:
            last = key[0]
            yield last
