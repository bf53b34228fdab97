"""The object cache: decoded events, state and whatever else is asked often, bounded in bytes."""

from __future__ import annotations

import gc
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final

ENTRY_BYTES = 300
"""What an entry takes beside its value, measured: key, place in the dict, size, position."""
COLLECTED_EVERY_BYTES: Final = 256 << 10
"""What is dropped until the garbage collector looks at what is new: some thousand objects, a millisecond or two."""


class ObjectCache:
    """Least recently used values go first when the bytes run out. Used from the event loop thread only.

    A value may be put only if it was read in a snapshot, with the position of that snapshot, or when it has landed,
    with the last position of its batch. ``hold`` drops keys and keeps them out until ``release``: a writer holds what
    its batch changes while the batch is on its way.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._entries: OrderedDict[Hashable, tuple[Any, int, int]] = OrderedDict()
        self._held: Counter[Hashable] = Counter()
        self._facts: dict[Hashable, Any] = {}
        self._facts_version = -1
        self._dropped_bytes = 0
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, pos: int) -> Any | None:
        """The value, unless it was read later than the snapshot at ``pos`` that asks."""
        entry = self._entries.get(key)
        if entry is None or entry[2] > pos:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def get_all(self, keys: Sequence[Hashable], pos: int) -> list[Any | None]:
        """``get`` for each of the keys."""
        find, touch = self._entries.get, self._entries.move_to_end
        values: list[Any | None] = []
        for key in keys:
            entry = find(key)
            if entry is None or entry[2] > pos:
                values.append(None)
            else:
                touch(key)
                values.append(entry[0])
        missed = values.count(None)
        self.misses += missed
        self.hits += len(values) - missed
        return values

    def put(self, key: Hashable, value: Any, size: int, pos: int) -> None:
        """Remember a value of about ``size`` bytes that snapshots at ``pos`` and later show."""
        if key in self._held:
            return
        size += ENTRY_BYTES
        self._drop(key)
        if size > self._bytes_max // 4:
            return
        self._entries[key] = (value, size, pos)
        self.bytes += size
        while self.bytes > self._bytes_max:
            _, (_, dropped, _) = self._entries.popitem(last=False)
            self.bytes -= dropped
            self._dropped_bytes += dropped
        if self._dropped_bytes >= COLLECTED_EVERY_BYTES:
            self._dropped_bytes = 0
            _collect_young()

    def facts_of(self, version: int) -> dict[Hashable, Any]:
        """Small facts that were found in snapshots of one version of the store, forgotten when another is asked for.

        Many tasks look at the same rows right after a commit: everybody whom it woke.
        """
        if version != self._facts_version:
            self._facts, self._facts_version = {}, version
        return self._facts

    def hold(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            self._held[key] += 1
            self._drop(key)

    def release(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]

    def clear(self) -> None:
        """Forget everything that is cached."""
        self._entries.clear()
        self._facts = {}
        self.bytes = 0

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry[1]


def _collect_young() -> None:
    """Let the garbage collector look at what is new.

    It does so by itself once more objects were made than freed, by a number. While each value that is put frees an old
    one it would not, for any time, and then have all at once to look at that was put since.
    """
    gc.collect(1 if gc.get_count()[1] >= gc.get_threshold()[1] else 0)
