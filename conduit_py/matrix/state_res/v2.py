"""State resolution 2 (room versions 2 to 11) and 2.1 (room version 12).

First the *power events* in conflict, those that may take away what somebody can do, are put in an order in which nobody
profits from being late or from lying about the time: causes before effects, the more powerful sender first. They are
tried one by one on the state that all sides agree on. The rest is then ordered along the *mainline*, the history of the
power levels event that has come out, and tried in turn.

Version 2.1 starts from an empty state instead: what all sides agree on may have come about later than the conflict and
then must not decide it. So that nothing is missing, all events between two events in conflict are tried again too.

Spec: rooms/v2/#state-resolution, rooms/v12/#state-resolution
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush
from itertools import chain

from conduit_py.matrix.auth import check_event
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.state_res.graph import (
    AuthGraph,
    StateKey,
    StateMap,
    auth_difference,
    conflicted_state_subgraph,
    state_key_of,
)
from conduit_py.matrix.state_res.mainline import Mainline

_POWER_LEVELS = ("m.room.power_levels", "")
_NOTHING: StateMap = {}


def resolve_conflict(
    room_version: RoomVersion, graph: AuthGraph, unconflicted: StateMap, conflicted: Sequence[StateMap]
) -> dict[StateKey, EventId]:
    """The entries that the resolved state has beside ``unconflicted``."""
    full_conflicted_set = _full_conflicted_set(room_version, graph, unconflicted, conflicted)

    # 1. Select the set X of all power events that appear in the full conflicted set. For each such power event P,
    #    enlarge X by adding the events in the auth chain of P which also belong to the full conflicted set. Sort X into
    #    a list using the reverse topological power ordering.
    power_events = _with_auth_events(graph, filter(_is_power_event, full_conflicted_set.values()), full_conflicted_set)
    ordered = _reverse_topological_power_ordering(room_version, graph, power_events)

    # 2. Apply the iterative auth checks algorithm, starting from the unconflicted state map (2.1: from an empty state
    #    map), to the list of events from the previous step to get a partially resolved state.
    state = _PartialState(room_version, graph, _NOTHING if room_version.state_res == "v2.1" else unconflicted)
    state.apply_allowed(ordered)

    # 3. Take all remaining events that weren't picked in step 1 and order them by the mainline ordering based on the
    #    power level in the partially resolved state obtained in step 2.
    mainline = Mainline(graph, state.get(_POWER_LEVELS))
    remaining = [event for event_id, event in full_conflicted_set.items() if event_id not in power_events]
    remaining.sort(key=mainline.sort_key)

    # 4. Apply the iterative auth checks algorithm on the partial resolved state and the list of events from the
    #    previous step.
    state.apply_allowed(remaining)

    # 5. Update the result by replacing any event with the event with the same key from the unconflicted state map, if
    #    such an event exists, to get the final resolved state.
    return {key: event_id for key, event_id in state.changes.items() if key not in unconflicted}


def _full_conflicted_set(
    room_version: RoomVersion, graph: AuthGraph, unconflicted: StateMap, conflicted: Sequence[StateMap]
) -> dict[EventId, Pdu]:
    event_ids = [set(state.values()) for state in conflicted]
    conflicted_state_set = set(chain.from_iterable(event_ids))
    full = conflicted_state_set | auth_difference(graph, unconflicted, event_ids)
    if room_version.state_res == "v2.1":
        full |= conflicted_state_subgraph(graph, conflicted_state_set)
    events = ((event_id, graph.event(event_id)) for event_id in full)
    return {event_id: event for event_id, event in events if event is not None}


def _is_power_event(event: Pdu) -> bool:
    match event.type:
        case "m.room.power_levels" | "m.room.join_rules":
            return event.state_key == ""
        case "m.room.member":
            is_removal = event.content.get("membership") in ("leave", "ban")
            return event.state_key is not None and is_removal and event.sender != event.state_key
        case _:
            return False


def _with_auth_events(graph: AuthGraph, events: Iterable[Pdu], full_conflicted_set: Container[EventId]) -> set[EventId]:
    stack = [event.event_id for event in events]
    found = set(stack)
    while stack:
        for event_id in graph.auth_events(stack.pop()):
            if event_id in full_conflicted_set and event_id not in found:
                found.add(event_id)
                stack.append(event_id)
    return found


def _reverse_topological_power_ordering(
    room_version: RoomVersion, graph: AuthGraph, event_ids: AbstractSet[EventId]
) -> list[Pdu]:
    """Kahn's algorithm, each time selecting the smallest among all candidates: the earliest event comes first."""
    waiting_for: dict[EventId, int] = {}
    referrers: dict[EventId, list[EventId]] = {event_id: [] for event_id in event_ids}
    for event_id in event_ids:
        auth_event_ids = {auth_event_id for auth_event_id in graph.auth_events(event_id) if auth_event_id in event_ids}
        waiting_for[event_id] = len(auth_event_ids)
        for auth_event_id in auth_event_ids:
            referrers[auth_event_id].append(event_id)

    candidates = [
        _power_sort_key(room_version, graph, event_id) for event_id, count in waiting_for.items() if count == 0
    ]
    heapify(candidates)
    ordered: list[Pdu] = []
    while candidates:
        *_, event_id = heappop(candidates)
        event = graph.event(event_id)
        if event is not None:
            ordered.append(event)
        for referrer in referrers[event_id]:
            waiting_for[referrer] -= 1
            if waiting_for[referrer] == 0:
                heappush(candidates, _power_sort_key(room_version, graph, referrer))
    return ordered


def _power_sort_key(room_version: RoomVersion, graph: AuthGraph, event_id: EventId) -> tuple[float, int, EventId]:
    """x < y if x's sender has greater power level than y's sender, when looking at their respective auth events; then
    by ``origin_server_ts``, then by ``event_id``."""
    event = graph.event(event_id)
    if event is None:
        return 0, 0, event_id
    power_levels = graph.auth_event(event, *_POWER_LEVELS)
    levels = PowerLevels.of_room(
        room_version,
        None if power_levels is None else power_levels.content,
        _create_of(room_version, graph, event),
    )
    return -levels.of_user(event.sender), event.origin_server_ts, event.event_id


def _create_of(room_version: RoomVersion, graph: AuthGraph, event: Pdu) -> Pdu | None:
    if room_version.auth.create_in_auth_events:
        return graph.auth_event(event, "m.room.create", "")
    return graph.event(EventId("$" + event.room_id[1:]))


class _PartialState:
    """A state under construction: ``base``, and the changes made to it so far."""

    def __init__(self, room_version: RoomVersion, graph: AuthGraph, base: StateMap) -> None:
        self._room_version = room_version
        self._graph = graph
        self._base = base
        self.changes: dict[StateKey, EventId] = {}

    def get(self, key: StateKey) -> EventId | None:
        return self.changes.get(key) or self._base.get(key)

    def apply_allowed(self, events: Iterable[Pdu]) -> None:
        """The iterative auth checks algorithm.

        If a (event_type, state_key) key that is required for checking the authorisation rules is not present in the
        state, then the appropriate state event from the event's auth_events is used if the auth event is not rejected.
        """
        for event in events:
            key = state_key_of(event)
            if key is not None and self._is_allowed(event):
                self.changes[key] = event.event_id

    def _is_allowed(self, event: Pdu) -> bool:
        def get_state(type: str, state_key: str) -> Pdu | None:
            if type == "m.room.create" and not self._room_version.auth.create_in_auth_events:
                return _create_of(self._room_version, self._graph, event)
            event_id = self.get((type, state_key))
            found = None if event_id is None else self._graph.event(event_id)
            if found is not None:
                return found
            auth_event = self._graph.auth_event(event, type, state_key)
            return None if auth_event is None or auth_event.rejected else auth_event

        return check_event(self._room_version, event, get_state) is None
