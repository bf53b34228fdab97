"""Short ids for long strings, handed out so that one string never gets two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.tree import Tree

K = TypeVar("K", bound=tuple[Any, ...])


class Interner(Generic[K]):
    """Hands out the ids of one tree.

    An id that was given out in a batch that has not landed yet is remembered, and every later batch that uses it writes
    the row again: the id survives even if the first batch is refused, and no string is ever given a second one.
    """

    def __init__(self, tree: Tree[K, int]) -> None:
        self._tree = tree
        self._pending: dict[tuple[Any, ...], list[int]] = {}

    def get(self, snapshot: Snapshot, key: K) -> int | None:
        """The id on disk, None if the string has none there."""
        return self._tree.get(snapshot, key)

    def intern(self, snapshot: Snapshot, turn: Turn, key: K, stage_reverse: Callable[[int], None]) -> int:
        """The id of a string, new if need be. ``stage_reverse`` stages what leads from the id back to the string."""
        known = self._tree.get(snapshot, key)
        if known is not None:
            return known
        pending = self._pending.setdefault(key, [0, 0])
        if not pending[0]:
            pending[0] = turn.take_pos()
        pending[1] += 1
        turn.on_settled(lambda: self._settle(key))
        turn.batch.put(self._tree, key, pending[0])
        stage_reverse(pending[0])
        return pending[0]

    def _settle(self, key: K) -> None:
        pending = self._pending[key]
        pending[1] -= 1
        if not pending[1]:
            del self._pending[key]
