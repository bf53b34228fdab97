"""The graph that ``auth_events`` spans, and the parts of it in which states differ.

Walks go from the events in conflict towards the start of the room, in the order given by ``get_order``, highest first,
so that an event is left behind only when all that refer to it have been seen; they stop where all sides have met.

Spec: rooms/v12/#definitions, "Auth difference" and "Conflicted state subgraph"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from heapq import heappop, heappush
from itertools import chain

from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu

StateKey = tuple[str, str]
StateMap = Mapping[StateKey, EventId]
GetEvent = Callable[[EventId], Pdu | None]
GetAuthEvents = Callable[[EventId], Sequence[EventId]]
GetOrder = Callable[[EventId], int]


def state_key_of(event: Pdu) -> StateKey | None:
    return None if event.state_key is None else (event.type, event.state_key)


class AuthGraph:
    """Reads the graph as far as it is asked for, and each event at most once.

    - ``get_event``: the event, ``None`` if unknown.
    - ``get_auth_events``: the IDs in its ``auth_events``, empty if unknown. Worth passing where the IDs can be had for
      less than the event: some walks need nothing else.
    - ``get_order``: a number that is higher than that of each event in its ``auth_events``, such as the place of the
      event among all those that this server has accepted. It lets walks stop early; without it they go back to the
      start of the room. ``depth`` is such a number only as long as no server lies about it.
    """

    def __init__(
        self, get_event: GetEvent, get_auth_events: GetAuthEvents | None = None, get_order: GetOrder | None = None
    ) -> None:
        self._get_event = get_event
        self._get_auth_events = get_auth_events
        self._get_order = get_order
        self.is_ordered = get_order is not None
        self._events: dict[EventId, Pdu | None] = {}

    def event(self, event_id: EventId) -> Pdu | None:
        if event_id not in self._events:
            self._events[event_id] = self._get_event(event_id)
        return self._events[event_id]

    def auth_events(self, event_id: EventId) -> Sequence[EventId]:
        if self._get_auth_events is not None:
            return self._get_auth_events(event_id)
        event = self.event(event_id)
        return () if event is None else event.auth_events

    def auth_event(self, event: Pdu, type: str, state_key: str) -> Pdu | None:
        """The entry of ``event.auth_events`` with this key; the first, should a rejected event have several."""
        for event_id in event.auth_events:
            auth_event = self.event(event_id)
            if auth_event is not None and auth_event.type == type and auth_event.state_key == state_key:
                return auth_event
        return None

    def order(self, event_id: EventId) -> int:
        if self._get_order is not None:
            return self._get_order(event_id)
        event = self.event(event_id)
        return 0 if event is None else event.depth


def auth_difference(
    graph: AuthGraph, unconflicted: StateMap, conflicted: Sequence[AbstractSet[EventId]]
) -> set[EventId]:
    """Events that are in the full auth chain of some states but not of all, without those of the states themselves.

    ``conflicted`` has the events of each state beside ``unconflicted``. The full auth chain includes its state.
    """
    marking = _Marking(graph, unconflicted, len(conflicted))
    for index, event_ids in enumerate(conflicted):
        for event_id in event_ids:
            marking.mark(event_id, 1 << index)
    # All of the unconflicted state is common to all states, and the auth chains of these reach far into the past.
    for auth_type in ("m.room.power_levels", "m.room.join_rules", "m.room.create"):
        marking.mark_holder((auth_type, ""))
    marking.walk()

    difference = marking.partly_marked().difference(*conflicted)
    if difference:
        # Most are found below the unconflicted event with the same key, if at all: look there first.
        unconflicted_events = chain(marking.holders(difference), unconflicted.values())
        difference -= _find_in_auth_chains(graph, unconflicted_events, difference)
    return difference


class _Marking:
    """Which events are in the chains of which states: one bit per state, handed on along ``auth_events``."""

    def __init__(self, graph: AuthGraph, unconflicted: StateMap, states: int) -> None:
        self._graph = graph
        self._unconflicted = unconflicted
        self._all = (1 << states) - 1
        self._marks: dict[EventId, int] = {}
        self._heap: list[tuple[int, EventId]] = []
        self._queued: set[EventId] = set()
        self._visited: set[EventId] = set()
        # Those in the queue that keep the walk going: not in all states, or visited before they got their last mark.
        self._open: set[EventId] = set()

    def mark(self, event_id: EventId, mark: int) -> None:
        known = self._marks.get(event_id, 0)
        if known | mark == known:
            return
        event = self._graph.event(event_id)
        if event is None:
            return
        mark |= self._all if self._is_unconflicted(event) else known
        self._marks[event_id] = mark
        if event_id not in self._queued:
            self._queued.add(event_id)
            heappush(self._heap, (-self._graph.order(event_id), event_id))
        if mark != self._all or event_id in self._visited:
            self._open.add(event_id)
        else:
            self._open.discard(event_id)

    def mark_holder(self, key: StateKey | None) -> None:
        """Mark the unconflicted event at ``key``: often it has descended from others with this key."""
        event_id = None if key is None else self._unconflicted.get(key)
        if event_id is not None:
            self.mark(event_id, self._all)

    def holders(self, event_ids: Iterable[EventId]) -> Iterator[EventId]:
        events = (self._graph.event(event_id) for event_id in event_ids)
        keys = (None if event is None else state_key_of(event) for event in events)
        holders = (None if key is None else self._unconflicted.get(key) for key in keys)
        return (event_id for event_id in holders if event_id is not None)

    def walk(self) -> None:
        while self._open or (self._heap and not self._graph.is_ordered):
            _, event_id = heappop(self._heap)
            self._queued.discard(event_id)
            self._open.discard(event_id)
            self._visited.add(event_id)
            mark = self._marks[event_id]
            event = self._graph.event(event_id)
            if mark != self._all and event is not None:
                self.mark_holder(state_key_of(event))
            for auth_event_id in self._graph.auth_events(event_id):
                self.mark(auth_event_id, mark)

    def partly_marked(self) -> set[EventId]:
        return {event_id for event_id, mark in self._marks.items() if mark != self._all}

    def _is_unconflicted(self, event: Pdu) -> bool:
        key = state_key_of(event)
        return key is not None and self._unconflicted.get(key) == event.event_id


def _find_in_auth_chains(graph: AuthGraph, event_ids: Iterable[EventId], wanted: AbstractSet[EventId]) -> set[EventId]:
    """Those of ``wanted`` that are in the auth chain of any of ``event_ids``."""
    lowest = min(graph.order(event_id) for event_id in wanted)  # nothing below it refers to any
    found: set[EventId] = set()
    seen: set[EventId] = set()
    for start in event_ids:
        stack = list(graph.auth_events(start))
        while stack:
            event_id = stack.pop()
            if event_id in seen:
                continue
            seen.add(event_id)
            if event_id in wanted:
                found.add(event_id)
            if not graph.is_ordered or graph.order(event_id) > lowest:
                stack.extend(graph.auth_events(event_id))
        if len(found) == len(wanted):
            break
    return found


def conflicted_state_subgraph(graph: AuthGraph, conflicted: AbstractSet[EventId]) -> set[EventId]:
    """All events on paths along ``auth_events`` from one event in conflict to another, both ends included."""
    known = [event_id for event_id in conflicted if graph.event(event_id) is not None]
    if not known:
        return set()
    lowest = min(graph.order(event_id) for event_id in known)
    referrers: dict[EventId, list[EventId]] = {event_id: [] for event_id in known}
    stack = list(known)
    while stack:
        event_id = stack.pop()
        if graph.is_ordered and graph.order(event_id) <= lowest:
            continue
        for auth_event_id in graph.auth_events(event_id):
            if auth_event_id in referrers:
                referrers[auth_event_id].append(event_id)
            elif graph.event(auth_event_id) is not None:
                referrers[auth_event_id] = [event_id]
                stack.append(auth_event_id)

    subgraph = set(known)
    stack = list(known)
    while stack:
        for referrer in referrers[stack.pop()]:
            if referrer not in subgraph:
                subgraph.add(referrer)
                stack.append(referrer)
    return subgraph
