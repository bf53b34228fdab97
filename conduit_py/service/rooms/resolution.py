"""What several states of a room resolve to.

Most of the time they are the same, or differ in a few entries: what is left to decide then takes a few reads, and is
done at once. A large conflict may lead through the whole history of a room's power. It is resolved in a worker thread,
which asks the event loop for what it has to read, in portions that take a few milliseconds: the map of the store may
grow only while nobody reads, and readers live on the loop (``kvschema.engine.lmdb``).

Spec: server-server-api/#room-state-resolution
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import trio

from conduit_py.data import timeline
from conduit_py.data.auth_chain import find_auth_events, get_auth_events
from conduit_py.data.short_ids import get_state_key, get_state_key_record
from conduit_py.data.state import LooseState, StateChain
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.state_res import StateKey, StateMap, resolve_conflict
from conduit_py.service.rooms.prepared import NEW, Conflict, Prepared, Resolved, Spread, TooLarge
from conduit_py.service.rooms.staged_events import KnownStateKeys, StagedEvents
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortStateKey

READS_MAX: Final = 200
"""Events read for a resolution on the event loop, about 15 ms."""
LOADED_AT_ONCE: Final = 100
"""Events that a worker thread is given at a time, about 5 ms of the loop's."""
ENTRIES_AT_ONCE: Final = 500
ENTRIES_MAX: Final = 300
"""Entries of states that are compared, or change, in one step of the loop: about 15 ms."""
SCANNED_PER_ENTRY: Final = 10
"""Entries of rows that are looked at to find one that differs, before that too takes long: about 5 ms."""
REMEMBERED_MAX: Final = 64
"""Resolutions kept."""
REMEMBERED_ENTRIES_MAX: Final = 50_000
"""Entries in conflict of all that are kept, about 15 MB. One may have more."""
THREADS_MAX: Final = 2
LARGE_AT_ONCE: Final = 2
"""Rooms in which something large is prepared: for 20,000 entries about 30 MB."""
NEVER: Final = 1 << 63
"""The order of an event that has no short id yet."""

T = TypeVar("T")


class Resolutions:
    """One per server. Without ``has_threads`` everything is resolved on the event loop, for tests."""

    def __init__(self, database: Database, *, has_threads: bool, entries_max: int = ENTRIES_MAX) -> None:
        self._database = database
        self._has_threads = has_threads
        self.entries_max = entries_max if has_threads else None
        """Entries in which states may differ to be compared in one step of the loop; None for any number."""
        self._limiter = trio.CapacityLimiter(THREADS_MAX)
        self.large = trio.CapacityLimiter(LARGE_AT_ONCE)
        self._remembered: OrderedDict[Hashable, tuple[Resolved, int]] = OrderedDict()
        """With how many entries were in conflict."""
        self._entries_remembered = 0

    async def resolve(self, conflict: Conflict) -> Resolved:
        """Resolve and remember. The room's lock is held, and everything but ``conflict.known`` has landed."""
        reads = _ReadsInThread(self._database, conflict)
        resolved = await trio.to_thread.run_sync(reads.resolve, limiter=self._limiter)
        self._remember(conflict, resolved)
        return resolved

    def get(self, conflict: Conflict) -> Resolved | None:
        found = self._remembered.get(conflict.name)
        return None if found is None else found[0]

    def reads_max(self) -> int | None:
        """How many events may be read for one resolution on the loop; None for any number."""
        return READS_MAX if self._has_threads else None

    def _remember(self, conflict: Conflict, resolved: Resolved) -> None:
        if conflict.name not in self._remembered:
            self._entries_remembered += conflict.size
            self._remembered[conflict.name] = resolved, conflict.size
        self._remembered.move_to_end(conflict.name)
        while len(self._remembered) > 1 and self._is_full():
            _, (_, size) = self._remembered.popitem(last=False)
            self._entries_remembered -= size

    def _is_full(self) -> bool:
        return len(self._remembered) > REMEMBERED_MAX or self._entries_remembered > REMEMBERED_ENTRIES_MAX


class Resolver:
    """Resolves in one turn, what was staged in it included."""

    def __init__(
        self,
        resolutions: Resolutions,
        room_version: RoomVersion,
        events: StagedEvents,
        keys: KnownStateKeys,
        chain: StateChain,
        prepared: Prepared,
    ) -> None:
        self._resolutions = resolutions
        self._prepared = prepared
        self._room_version = room_version
        self._events = events
        self._keys = keys
        self._chain = chain
        self.reads = 0
        """Events read for resolutions until now."""

    def resolve(self, states: Sequence[LooseState], *, new: tuple[ShortEventId, Pdu] | None = None) -> LooseState:
        """What ``states`` resolve to. ``new`` is an event in one of them that is not staged yet.

        Raises ``TooLarge``.
        """
        distinct = list(dict.fromkeys(states))
        if len(distinct) == 1:
            return distinct[0]
        if self._are_large(distinct):
            return self._get_prepared(distinct, new)
        differing: set[ShortStateKey] = set()
        for other in distinct[1:]:
            differing |= self._chain.get_differing(distinct[0], other)
        if not differing:
            return distinct[0]
        conflicted = tuple(self.name_entries(state, differing, new) for state in distinct)
        nameable = self._with_new(distinct, new)
        conflict = build_conflict(self._room_version, nameable, conflicted, None if new is None else new[1])
        resolved = self._resolutions.get(conflict)
        if resolved is None:
            resolved = self._resolve(conflict, differing)
        nearest = [dict(state.changes) for state in distinct]
        self.change_entries(distinct, nearest, differing, resolved, new)
        return choose_nearest(distinct, nearest)

    def is_large(self, first: LooseState, second: LooseState) -> bool:
        """Would it take too long to compare these?"""
        return self._are_large([first, second])

    def _are_large(self, states: Sequence[LooseState]) -> bool:
        entries_max = self._resolutions.entries_max
        if entries_max is None:
            return False
        # Each of them is asked for what any of them differs in.
        candidates_max, candidates = 2 * entries_max // len(states), 0
        for other in states[1:]:
            count = self._chain.count_between(states[0], other)
            if count > candidates_max:
                # Of two neighbours in a chain one may stand in a long row.
                if count > entries_max * SCANNED_PER_ENTRY:
                    return True
                count = len(self._chain.find_candidates(states[0], other))
            candidates += count
            if candidates > candidates_max:
                return True
        return False

    def _get_prepared(self, states: Sequence[LooseState], new: tuple[ShortEventId, Pdu] | None) -> LooseState:
        spread = Spread(
            room_version=self._room_version,
            states=tuple(self._with_new(states, new)),
            new=None if new is None else new[1],
        )
        resolved = self._prepared.resolved.get(spread.name)
        if resolved is None:
            raise TooLarge(spread)
        return resolved if new is None else _replaced(resolved, self._find_key(new[1]), NEW, new[0])

    def _with_new(self, states: Sequence[LooseState], new: tuple[ShortEventId, Pdu] | None) -> Sequence[LooseState]:
        """With ``NEW`` for the new event: its short id is another each time that the event is looked at."""
        if new is None:
            return states
        key = self._find_key(new[1])
        return [_replaced(state, key, new[0], NEW) for state in states]

    def _find_key(self, pdu: Pdu) -> ShortStateKey | None:
        return None if pdu.state_key is None else self._keys.find(pdu.type, pdu.state_key)

    def name_entries(
        self, state: LooseState, keys: Iterable[ShortStateKey], new: tuple[ShortEventId, Pdu] | None
    ) -> dict[StateKey, EventId]:
        """Some entries of a state, as the rules name them."""

        def event_id_of(event: ShortEventId) -> EventId:
            return new[1].event_id if new is not None and event == new[0] else self._events.get_event_id(event)

        return {
            self._keys.get_name(key): event_id_of(event)
            for key in keys
            if (event := self._chain.get_loose(state, key)) is not None
        }

    def _resolve(self, conflict: Conflict, differing: set[ShortStateKey]) -> Resolved:
        reads = _ReadsInPlace(self._events, conflict, self._resolutions.reads_max())
        unconflicted = _Unconflicted(
            {self._keys.get_name(key) for key in differing},
            get=lambda key: self._get_shared(conflict.states[0], key),
            values=lambda: map(reads.note, self._scan_shared(conflict, differing)),
        )
        try:
            return reads.resolve(unconflicted)
        finally:
            self.reads += reads.done

    def _get_shared(self, state: LooseState, key: StateKey) -> EventId | None:
        short = self._keys.find(*key)
        event = None if short is None else self._chain.get_loose(state, short)
        return None if event is None else self._events.get_event_id(event)

    def _scan_shared(self, conflict: Conflict, differing: set[ShortStateKey]) -> Iterator[EventId]:
        first = conflict.states[0]
        entries = self._chain.entries(first.base) | dict(first.changes)
        for key, event in entries.items():
            if event and key not in differing:
                yield self._events.get_event_id(event)

    def change_entries(
        self,
        states: Sequence[LooseState],
        changes: Sequence[dict[ShortStateKey, ShortEventId]],
        keys: Iterable[ShortStateKey],
        resolved: Resolved,
        new: tuple[ShortEventId, Pdu] | None,
    ) -> None:
        """Make entries of ``states``, of which each has its ``changes``, those of the resolved state."""
        for key in keys:
            event = self._find_resolved(resolved.get(self._keys.get_name(key)), new)
            for state, changed in zip(states, changes, strict=True):
                if (self._chain.get(state.base, key) or ShortEventId(0)) == event:
                    changed.pop(key, None)
                else:
                    changed[key] = event

    def _find_resolved(self, event_id: EventId | None, new: tuple[ShortEventId, Pdu] | None) -> ShortEventId:
        if event_id is None:
            return ShortEventId(0)
        if new is not None and event_id == new[1].event_id:
            return new[0]
        event = self._events.find(event_id)
        assert event is not None, f"{event_id} is in a state, and not stored"
        return event


def build_conflict(
    room_version: RoomVersion, states: Sequence[LooseState], conflicted: Sequence[StateMap], new: Pdu | None
) -> Conflict:
    known = {} if new is None else {new.event_id: new}
    return Conflict(room_version=room_version, states=tuple(states), conflicted=tuple(conflicted), known=known)


def choose_nearest(states: Sequence[LooseState], changes: Sequence[dict[ShortStateKey, ShortEventId]]) -> LooseState:
    """The resolved state as the least difference from one of those that went into it."""
    candidates = [LooseState(state.base, changed) for state, changed in zip(states, changes, strict=True)]
    return min(candidates, key=lambda candidate: len(candidate.changes))


def _replaced(state: LooseState, key: ShortStateKey | None, old: ShortEventId, new: ShortEventId) -> LooseState:
    """The same state with another event under one key, if ``old`` is there."""
    if key is None or state.changes.get(key) != old:
        return state
    return LooseState(state.base, {**state.changes, key: new})


class _Unconflicted(Mapping[StateKey, EventId]):
    """What all states agree on, read as it is asked for."""

    def __init__(
        self,
        conflicting: set[StateKey],
        *,
        get: Callable[[StateKey], EventId | None],
        values: Callable[[], Iterator[EventId]],
    ) -> None:
        self._conflicting = conflicting
        self._get = get
        self._scan = values

    def __getitem__(self, key: StateKey) -> EventId:
        event_id = None if key in self._conflicting else self._get(key)
        if event_id is None:
            raise KeyError(key)
        return event_id

    def __iter__(self) -> Iterator[StateKey]:
        raise TypeError("the state is not laid out")

    def __len__(self) -> int:
        raise TypeError("the state is not laid out")

    def values(self) -> Iterator[EventId]:  # type: ignore[override]
        return self._scan()


class _ReadsInPlace:
    """Reads on the event loop, up to a number of events."""

    def __init__(self, events: StagedEvents, conflict: Conflict, reads_max: int | None) -> None:
        self._events = events
        self._conflict = conflict
        self._reads_max = reads_max
        self.done = 0

    def resolve(self, unconflicted: StateMap) -> Resolved:
        return resolve_conflict(
            self._conflict.room_version,
            unconflicted,
            self._conflict.conflicted,
            get_event=self._get_event,
            get_auth_events=self._get_auth_events,
            get_order=self._get_order,
        )

    def _get_event(self, event_id: EventId) -> Pdu | None:
        self._count()
        known = self._conflict.known.get(event_id)
        event = None if known is not None else self._events.find(event_id)
        return known if event is None else self._events.get_pdu(event)

    def _get_auth_events(self, event_id: EventId) -> list[EventId]:
        self._count()
        known = self._conflict.known.get(event_id)
        if known is not None:
            return [self._events.get_event_id(event) for event in self._events.find_auth_events(known)]
        event = self._events.find(event_id)
        shorts = () if event is None else self._events.get_auth_events(event)
        return [self._events.get_event_id(short) for short in shorts]

    def _get_order(self, event_id: EventId) -> int:
        return NEVER if event_id in self._conflict.known else self._events.find(event_id) or 0

    def note(self, event_id: EventId) -> EventId:
        """Count one more."""
        self._count()
        return event_id

    def _count(self) -> None:
        self.done += 1
        if self._reads_max is not None and self.done > self._reads_max:
            raise TooLarge(self._conflict)


@dataclass(slots=True)
class _Loaded:
    """What a worker thread has of the store."""

    pdus: dict[EventId, Pdu | None] = field(default_factory=dict)
    auth_events: dict[EventId, list[EventId]] = field(default_factory=dict)
    orders: dict[EventId, int] = field(default_factory=dict)

    def drop(self) -> None:
        """One by one: to free 40,000 events takes 100 ms, and at once no other thread would have a turn meanwhile."""
        while self.pdus:
            self.pdus.popitem()
        while self.auth_events:
            self.auth_events.popitem()


class _ReadsInThread:
    """Resolves in a worker thread and reads on the event loop."""

    def __init__(self, database: Database, conflict: Conflict) -> None:
        self._database = database
        self._conflict = conflict
        self._loaded = _Loaded()

    def resolve(self) -> Resolved:
        conflict = self._conflict
        conflicting = {key for entries in conflict.conflicted for key in entries}
        try:
            return resolve_conflict(
                conflict.room_version,
                _Unconflicted(conflicting, get=self._get_shared, values=lambda: self._scan_shared(conflicting)),
                conflict.conflicted,
                get_event=self._get_event,
                get_auth_events=self._get_auth_events,
                get_order=self._get_order,
            )
        finally:
            self._loaded.drop()

    def _get_event(self, event_id: EventId) -> Pdu | None:
        return self._require(event_id).pdus[event_id]

    def _get_auth_events(self, event_id: EventId) -> list[EventId]:
        return self._require(event_id).auth_events[event_id]

    def _get_order(self, event_id: EventId) -> int:
        return self._require(event_id).orders[event_id]

    def _require(self, event_id: EventId) -> _Loaded:
        if event_id not in self._loaded.pdus:
            self._on_loop(lambda snapshot: self._load(snapshot, event_id))
        return self._loaded

    def _on_loop(self, read: Callable[[Snapshot], T]) -> T:
        def run() -> T:
            with self._database.snapshot() as snapshot:
                return read(snapshot)

        return trio.from_thread.run_sync(run)

    def _load(self, snapshot: Snapshot, event_id: EventId) -> None:
        """The event, and what will be asked for next: the nearest of its auth chain."""
        loaded, todo, at = self._loaded, [event_id], 0
        while at < len(todo) and at < LOADED_AT_ONCE:
            event_id = todo[at]
            at += 1
            known = self._conflict.known.get(event_id)
            event = None if known is not None else timeline.get_event(snapshot, event_id)
            if known is not None:
                auth_events, pdu = tuple(find_auth_events(snapshot, known)), known
                loaded.orders[event_id] = NEVER
            elif event is not None:
                auth_events, pdu = get_auth_events(snapshot, event), timeline.get_pdu(snapshot, event)
                loaded.orders[event_id] = event
            else:
                loaded.pdus[event_id], loaded.auth_events[event_id], loaded.orders[event_id] = None, [], 0
                continue
            ids = [EventId(timeline.require_row(snapshot, short).event_id) for short in auth_events]
            loaded.pdus[event_id], loaded.auth_events[event_id] = pdu, ids
            todo.extend(other for other in ids if other not in loaded.pdus and other not in todo)

    def _get_shared(self, key: StateKey) -> EventId | None:
        def read(snapshot: Snapshot) -> EventId | None:
            short = get_state_key(snapshot, *key)
            event = None if short is None else StateChain(snapshot).get_loose(self._conflict.states[0], short)
            return None if event is None else EventId(timeline.require_row(snapshot, event).event_id)

        return self._on_loop(read)

    def _scan_shared(self, conflicting: set[StateKey]) -> Iterator[EventId]:
        first = self._conflict.states[0]
        entries = self._on_loop(lambda snapshot: StateChain(snapshot).entries(first.base))
        todo = list((entries | dict(first.changes)).items())
        for start in range(0, len(todo), ENTRIES_AT_ONCE):
            part = todo[start : start + ENTRIES_AT_ONCE]
            yield from self._on_loop(partial(_name, entries=part, conflicting=conflicting))


def _name(
    snapshot: Snapshot, *, entries: Sequence[tuple[ShortStateKey, ShortEventId]], conflicting: set[StateKey]
) -> list[EventId]:
    return [
        EventId(timeline.require_row(snapshot, event).event_id)
        for key, event in entries
        if event and tuple(get_state_key_record(snapshot, key)) not in conflicting
    ]
