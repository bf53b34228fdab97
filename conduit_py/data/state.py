"""Room state: the current one, entry by entry, and the one after every event, as a chain of differences.

A *state* is a set of (state key, event) entries and has a ``StateId``. It is stored as its difference from an earlier
state, its base. The state after the d-th change of a chain has the state after change ``d - lowest_set_bit(d)`` as its
base, like the nodes of a Fenwick tree. So any state is at most log2(d) rows away from the beginning of its chain,
a lookup reads at most that many rows, and n changes store about n * log2(n) / 2 entries of 16 bytes. There is nothing
to tune and nothing to compact.

A row is: depth, base (8 bytes each, big endian), then entries of 16 bytes (state key, event; event 0 for "removed"),
sorted by state key, so that one key is found by bisection without decoding the rest.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, TypeVar, cast

from conduit_py.data.short_ids import get_state_key, get_state_key_record
from conduit_py.data.timeline import get_pdu
from conduit_py.matrix.json_slices import Slices
from conduit_py.matrix.pdu import Pdu
from conduit_py.slices import portions, run_at_once
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.writer import Turn
from kvschema.batch import WriteBatch
from kvschema.catalog import state
from kvschema.catalog.rooms import ByRoom, ShortEventId, ShortRoomId, ShortStateKey, StateId
from kvschema.errors import CorruptValue

EMPTY = StateId(0)
_HEADER = struct.Struct(">QQ")
_ENTRY = struct.Struct(">QQ")
_ENTRY_BYTES = 16
_ENTRY_OBJECT_BYTES = 120
_DIFF_BYTES = 200
_MEMBER = "m.room.member"
_SEARCHED_BYTES_MAX = 1024
"""Up to here a search from the beginning is faster than a bisection, whose every step is a call."""
_LOOKUPS_MAX = 64
"""Entries beyond which it is cheaper to lay out a whole state than to look up one by one."""

ENTRIES_AT_ONCE: Final = 2000
"""Entries that are put together or compared between two slices: about a millisecond."""
KEYS_AT_ONCE: Final = 250
"""Entries whose keys are looked up, or that are looked up in two states: some milliseconds."""

LOOSE_MAX: Final = 1000
"""Entries that a state without a name may have: of more, it is stored ahead (``stage_whole``)."""

T = TypeVar("T")
Entries = dict[ShortStateKey, ShortEventId]
Changes = Mapping[ShortStateKey, ShortEventId]
"""New entries; event 0 removes one."""


@dataclass(frozen=True, slots=True)
class LooseState:
    """A state that may have no name of its own: one that has, and what is other than in that."""

    base: StateId
    changes: Changes = field(default_factory=dict)

    def __hash__(self) -> int:
        # There may be thousands: to compare them takes a tenth of what it takes to hash them.
        return hash((self.base, len(self.changes)))


class StateDiff:
    """One stored row."""

    __slots__ = ("_entries", "base", "depth")

    def __init__(self, raw: bytes) -> None:
        self.depth, base = _HEADER.unpack_from(raw)
        self.base = StateId(base)
        self._entries = raw[_HEADER.size :]

    def __len__(self) -> int:
        return len(self._entries) // _ENTRY_BYTES

    def get(self, state_key: ShortStateKey) -> ShortEventId | None:
        """The event, 0 if the entry was removed, None if this difference does not speak of it."""
        entries = self._entries
        wanted = state_key.to_bytes(8, "big")
        if len(entries) <= _SEARCHED_BYTES_MAX:
            start = entries.find(wanted)
            while start % _ENTRY_BYTES and start >= 0:
                start = entries.find(wanted, start + 1)
            return None if start < 0 else ShortEventId(int.from_bytes(entries[start + 8 : start + 16], "big"))
        at = bisect_left(
            range(len(self)), wanted, key=lambda index: entries[index * _ENTRY_BYTES : index * _ENTRY_BYTES + 8]
        )
        start = at * _ENTRY_BYTES
        if entries[start : start + 8] != wanted:
            return None
        return ShortEventId(int.from_bytes(entries[start + 8 : start + 16], "big"))

    def items(self) -> Iterator[tuple[ShortStateKey, ShortEventId]]:
        return cast("Iterator[tuple[ShortStateKey, ShortEventId]]", _ENTRY.iter_unpack(self._entries))


def _encode(depth: int, base: StateId, changes: Changes) -> bytes:
    keys = sorted(changes)  # In a large room half as dear as to sort the items.
    entries = chain.from_iterable(zip(keys, map(changes.__getitem__, keys), strict=True))
    return struct.pack(f">{2 + 2 * len(changes)}Q", depth, base, *entries)


_FIRST_DEPTH = 1 << 40
"""Of a state that comes whole. Its lowest set bit is so high that what follows is stored as a difference from it. After
depth 1, the next state of a large room would be stored whole once more, and the fourth, and so on."""


def encode_first(entries: Changes) -> bytes:
    """The row of a state that follows no other. Costs its size: that of a large room is for a thread to make."""
    return _encode(_FIRST_DEPTH, EMPTY, entries)


def encode_whole(entries: Entries) -> Slices[bytes]:
    """The same in slices. Event 0 stands for no entry."""
    keys = sorted(entries)  # All at once, but mostly they come sorted.
    parts = [_HEADER.pack(_FIRST_DEPTH, EMPTY)]
    for portion in portions(keys, ENTRIES_AT_ONCE):
        yield
        said = [(key, event) for key in portion if (event := entries[key])]
        parts.append(struct.pack(f">{2 * len(said)}Q", *chain.from_iterable(said)))
    return b"".join(parts)


def stage_whole(turn: Turn, encoded: bytes) -> StateId:
    """Name a state that differs from all others in much, which then costs those that follow it nothing.

    Nothing refers to it yet, and maybe nothing ever will: it goes with the room that its events are of.
    """
    name = StateId(turn.take_pos())
    turn.batch.put(state.STATEID_STATEDIFF, state.ByState(name), encoded)
    return name


class StateChain:
    """Reads states, those staged in this turn included, and stages new ones."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._staged: dict[StateId, StateDiff] = {}

    def go_on(self, snapshot: Snapshot) -> None:
        """Read from this snapshot from now on: states never change."""
        self._snapshot = snapshot

    def get(self, state_id: StateId, state_key: ShortStateKey) -> ShortEventId | None:
        """The event of one entry, None where the state has none."""
        while state_id:
            diff = self._diff(state_id)
            event = diff.get(state_key)
            if event is not None:
                return event or None
            state_id = diff.base
        return None

    def get_several(
        self, state_id: StateId, keys: Sequence[ShortStateKey | None], known: dict[StateId, tuple[ShortEventId, ...]]
    ) -> tuple[ShortEventId, ...]:
        """The events of a few entries, 0 where the state has none.

        What other states say that were met on the way stays in ``known``: states that follow each other share most.
        """
        if not state_id:
            return (ShortEventId(0),) * len(keys)
        found = known.get(state_id)
        if found is None:
            diff = self._diff(state_id)
            said = [ShortEventId(0) if key is None else diff.get(key) for key in keys]
            if None in said:
                below = self.get_several(diff.base, keys, known)
                said = [before if event is None else event for event, before in zip(said, below, strict=True)]
            found = known[state_id] = tuple(event or ShortEventId(0) for event in said)
        return found

    def get_loose(self, state: LooseState, state_key: ShortStateKey) -> ShortEventId | None:
        """The same of a state that may have no name."""
        changed = state.changes.get(state_key)
        return self.get(state.base, state_key) if changed is None else changed or None

    def get_differing(self, first: LooseState, second: LooseState) -> set[ShortStateKey]:
        """The keys whose entries differ between two states."""
        keys = self.find_candidates(first, second)
        return {key for key in keys if self.get_loose(first, key) != self.get_loose(second, key)}

    def find_candidates(self, first: LooseState, second: LooseState) -> set[ShortStateKey]:
        """All keys whose entries may differ between two states."""
        keys = {*first.changes, *second.changes}
        if first.base != second.base:
            keys.update(self.changes_between(first.base, second.base))
        return keys

    def count_between(self, first: LooseState, second: LooseState) -> int:
        """How many entries are looked at to find those that differ. Costs next to nothing."""
        sides = self.rows_between(first.base, second.base)
        return len(first.changes) + len(second.changes) + sum(len(row) for rows in sides for row in rows)

    def rows_between(self, first: StateId, second: StateId) -> tuple[list[StateDiff], list[StateDiff]]:
        """The rows in which two chains differ, the latest first. Costs next to nothing."""
        rows: tuple[list[StateDiff], list[StateDiff]] = ([], [])
        ends = [first, second]
        while ends[0] != ends[1]:
            side = 0 if self._depth(ends[0]) >= self._depth(ends[1]) else 1
            diff = self._diff(ends[side])
            rows[side].append(diff)
            ends[side] = diff.base
        return rows

    def entries(self, state_id: StateId) -> Entries:
        """The whole state. Costs its size."""
        return run_at_once(self.find_entries(state_id))

    def find_entries(self, state_id: StateId) -> Slices[Entries]:
        """The same in slices, between which the chain may go on in another snapshot. So may all that ``find``."""
        diffs = []
        while state_id:
            diff = self._diff(state_id)
            diffs.append(diff)
            state_id = diff.base
        merged = yield from merge(diffs)
        return (yield from _without_removed(merged))

    def find_entries_but_members(self, state_id: StateId) -> Slices[Entries]:
        """The state without memberships. Of a large room that is little, and costs no more once it was asked for."""
        parts = []
        while state_id:
            parts.append((yield from self._find_others_in(state_id)))
            state_id = self._diff(state_id).base
        merged: Entries = {}
        for part in reversed(parts):
            merged.update(part)
        return (yield from _without_removed(merged))

    def _find_others_in(self, state_id: StateId) -> Slices[tuple[tuple[ShortStateKey, ShortEventId], ...]]:
        """What one row says of other things than memberships."""
        name = ("others", state_id)
        cached: tuple[tuple[ShortStateKey, ShortEventId], ...] | None
        cached = self._snapshot.cache.get(name, self._snapshot.pos)
        if cached is None:
            others: list[tuple[ShortStateKey, ShortEventId]] = []
            for items in portions(self._diff(state_id).items(), KEYS_AT_ONCE):
                others += [it for it in items if get_state_key_record(self._snapshot, it[0]).type != _MEMBER]
                yield
            cached = tuple(others)
            if state_id not in self._staged:
                self._snapshot.cache.put(name, cached, _ENTRY_OBJECT_BYTES * len(cached), self._snapshot.pos)
        return cached

    def changes_between(self, before: StateId, after: StateId) -> Entries:
        """What makes ``before`` into ``after``: new entries, and event 0 for what is gone.

        Costs the rows in which the two chains differ, mostly about as many entries as changed between them.
        """
        return run_at_once(self.find_changes_between(before, after))

    def find_changes_between(self, before: StateId, after: StateId) -> Slices[Entries]:
        """The same in slices."""
        rows = self.rows_between(before, after)
        old = yield from merge(rows[0])
        new = yield from merge(rows[1])
        base = rows[0][-1].base if rows[0] else before
        shared = yield from self._find_getter(base, len(old.keys() ^ new.keys()))
        changed: Entries = {}
        for items in portions(new.items(), ENTRIES_AT_ONCE):
            changed.update(it for it in items if (old[it[0]] if it[0] in old else shared(it[0])) != it[1])
            yield
        for keys in portions(old.keys() - new.keys(), ENTRIES_AT_ONCE):
            changed.update((key, event) for key in keys if (event := shared(key)) != old[key])
            yield
        return changed

    def _depth(self, state_id: StateId) -> int:
        return self._diff(state_id).depth if state_id else 0

    def _find_getter(self, state_id: StateId, lookups: int) -> Slices[Callable[[ShortStateKey], ShortEventId]]:
        absent = ShortEventId(0)
        if lookups < _LOOKUPS_MAX:
            return lambda state_key: self.get(state_id, state_key) or absent
        entries = yield from self.find_entries(state_id)
        return lambda state_key: entries.get(state_key, absent)

    def stage(self, turn: Turn, new: StateId, before: StateId, changes: Changes) -> None:
        """Name ``new`` the state that ``before`` becomes by ``changes``."""
        depth = self._diff(before).depth + 1 if before else 1
        base_depth = depth - (depth & -depth)
        merged = dict(changes)
        base = before
        while base:
            diff = self._diff(base)
            if diff.depth <= base_depth:
                break
            for state_key, event in diff.items():
                merged.setdefault(state_key, event)
            base = diff.base
        raw = _encode(depth, base, merged)
        self._staged[new] = StateDiff(raw)
        turn.batch.put(state.STATEID_STATEDIFF, state.ByState(new), raw)

    def _diff(self, state_id: StateId) -> StateDiff:
        staged = self._staged.get(state_id)
        if staged is not None:
            return staged
        cache, pos = self._snapshot.cache, self._snapshot.pos
        cached: StateDiff | None = cache.get(("state", state_id), pos)
        if cached is None:
            raw = state.STATEID_STATEDIFF.get(self._snapshot, state.ByState(state_id))
            if raw is None:
                raise CorruptValue(f"state {state_id} is referred to and not stored")
            cached = StateDiff(raw)
            cache.put(("state", state_id), cached, _DIFF_BYTES + len(raw), pos)
        return cached


def merge(rows: Sequence[StateDiff]) -> Slices[Entries]:
    """What rows of a chain say together, the latest first. Event 0 stands for what they remove."""
    merged: Entries = {}
    for row in reversed(rows):
        for items in portions(row.items(), ENTRIES_AT_ONCE):
            merged.update(items)
            yield
    return merged


def _without_removed(entries: Entries) -> Slices[Entries]:
    left: Entries = {}
    for items in portions(entries.items(), ENTRIES_AT_ONCE):
        left.update(it for it in items if it[1])
        yield
    return left


def in_snapshots(database: Database, find: Callable[[StateChain], Slices[T]]) -> Slices[T]:
    """What is found in slices, each of them in a snapshot of its own."""
    with database.snapshot() as snapshot:
        chain = StateChain(snapshot)
        slices = find(chain)
    while True:
        with database.snapshot() as snapshot:
            chain.go_on(snapshot)
            try:
                next(slices)
            except StopIteration as done:
                return cast("T", done.value)
        yield


def get_current_state_id(snapshot: Snapshot, room: ShortRoomId) -> StateId:
    return StateId(state.ROOMID_STATEID.get(snapshot, ByRoom(room)) or 0)


def get_current(snapshot: Snapshot, room: ShortRoomId, type: str, state_key: str) -> ShortEventId | None:
    """The event of one entry of a room's current state."""
    short = get_state_key(snapshot, type, state_key)
    if short is None:
        return None
    event = state.ROOMSTATE_SHORTEVENTID.get(snapshot, state.RoomStateKey(room, short))
    return None if event is None else ShortEventId(event)


def get_current_pdu(snapshot: Snapshot, room: ShortRoomId, type: str, state_key: str) -> Pdu | None:
    event = get_current(snapshot, room, type, state_key)
    return None if event is None else get_pdu(snapshot, event)


def scan_current(snapshot: Snapshot, room: ShortRoomId) -> Iterator[tuple[ShortStateKey, ShortEventId]]:
    """The whole current state of a room. Costs its size."""
    for key, event in state.ROOMSTATE_SHORTEVENTID.scan(snapshot, room):
        yield key.state_key, ShortEventId(event)


def get_pdu_at(snapshot: Snapshot, state_id: StateId, type: str, state_key: str) -> Pdu | None:
    """One entry of some earlier state."""
    short = get_state_key(snapshot, type, state_key)
    event = None if short is None else StateChain(snapshot).get(state_id, short)
    return None if event is None else get_pdu(snapshot, event)


def stage_current(turn: Turn, room: ShortRoomId, state_id: StateId, changes: Changes) -> None:
    """Make ``state_id`` the current state, which differs from the one before by ``changes``."""
    turn.batch.put(state.ROOMID_STATEID, ByRoom(room), state_id)
    put_entries(turn.batch, room, changes)


def put_entries(batch: WriteBatch, room: ShortRoomId, changes: Changes) -> None:
    """Change entries of the current state, which must then get another name."""
    for state_key, event in changes.items():
        key = state.RoomStateKey(room, state_key)
        if event:
            batch.put(state.ROOMSTATE_SHORTEVENTID, key, event)
        else:
            batch.delete(state.ROOMSTATE_SHORTEVENTID, key)
