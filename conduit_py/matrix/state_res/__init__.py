"""State resolution: one room state out of several, the same on every server whatever the order of its inputs.

``resolve`` takes whole states. ``resolve_conflict`` takes what they agree on and where they differ, for callers who
know the difference already: its cost follows the conflict and not the size of the room. Both are pure and can run in a
worker thread.

Decisions. The spec leaves corners open where servers that are out there agree with each other; a room works only if its
servers compute the same state, so these are resolved as they do:

- The full auth chain of a state includes the events of that state (v2, v2.1). Read literally, the auth difference would
  hold unconflicted events that only one side happens to refer to, and change the order of the others.
- The power events' auth chains are followed through the full conflicted set alone (v2; in v2.1 there is no difference).
- A power event of type ``m.room.power_levels`` or ``m.room.join_rules`` is one with an empty state key: those with
  others have no power.
- If no candidate for a state key passes authorisation, version 1 keeps the oldest one.

An event that ``get_event`` does not know takes no part.

Spec: server-server-api/#room-state-resolution, rooms/v1/#state-resolution, rooms/v2/#state-resolution,
rooms/v12/#state-resolution
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

from conduit_py.matrix.ids import EventId
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.state_res import v1, v2
from conduit_py.matrix.state_res.graph import AuthGraph, GetAuthEvents, GetEvent, GetOrder, StateKey, StateMap

__all__ = ["GetAuthEvents", "GetEvent", "GetOrder", "StateKey", "StateMap", "resolve", "resolve_conflict", "separate"]


def resolve(
    room_version: RoomVersion,
    state_sets: Sequence[StateMap],
    *,
    get_event: GetEvent,
    get_auth_events: GetAuthEvents | None = None,
    get_order: GetOrder | None = None,
) -> dict[StateKey, EventId]:
    """The resolution of the room states after the ``prev_events`` of an event (or at the forward extremities).

    See :class:`AuthGraph` for the callables. Comparing the states costs about a tenth of a microsecond per entry.
    """
    unconflicted, conflicted = separate(state_sets)
    resolved = resolve_conflict(
        room_version,
        unconflicted,
        conflicted,
        get_event=get_event,
        get_auth_events=get_auth_events,
        get_order=get_order,
    )
    return {**unconflicted, **resolved} if resolved else unconflicted


def resolve_conflict(
    room_version: RoomVersion,
    unconflicted: StateMap,
    conflicted: Sequence[StateMap],
    *,
    get_event: GetEvent,
    get_auth_events: GetAuthEvents | None = None,
    get_order: GetOrder | None = None,
) -> dict[StateKey, EventId]:
    """The entries that the resolved state has beside ``unconflicted``.

    ``conflicted`` holds one map per state with its entries for the keys that are not the same in all of them; a key may
    be missing. ``unconflicted`` is read at single keys, and its values are gone through only when the difference of the
    auth chains cannot be told without (a side of the fork has replaced the same entry twice, for example).
    """
    if not any(conflicted):
        return {}
    graph = AuthGraph(get_event, get_auth_events, get_order)
    match room_version.state_res:
        case "v1":
            return v1.resolve_conflict(room_version, graph, unconflicted, conflicted)
        case "v2" | "v2.1":
            return v2.resolve_conflict(room_version, graph, unconflicted, conflicted)
        case _:
            assert_never(room_version.state_res)


def separate(state_sets: Sequence[StateMap]) -> tuple[dict[StateKey, EventId], list[StateMap]]:
    """The unconflicted state map, and the rest of each state (equal states once).

    Spec: rooms/v2/#definitions, "Unconflicted state map and conflicted state set"
    """
    states = _distinct(state_sets)
    if not states:
        return {}, []
    first, *others = states
    keys: set[StateKey] = set()
    for other in others:
        keys.update(key for key, event_id in first.items() if other.get(key) != event_id)
        keys.update(other.keys() - first.keys())
    unconflicted = dict(first)
    for key in keys:
        unconflicted.pop(key, None)
    return unconflicted, [{key: state[key] for key in keys if key in state} for state in states] if keys else []


def _distinct(state_sets: Iterable[StateMap]) -> list[StateMap]:
    states: list[StateMap] = []
    for state in state_sets:
        if not any(state is known or state == known for known in states):
            states.append(state)
    return states
