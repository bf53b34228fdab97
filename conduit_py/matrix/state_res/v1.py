"""State resolution of room version 1.

Conflicts are settled in passes: power levels, join rules, members, then everything else, each pass judged by the state
that the passes before it have made. Members do not see each other's outcome, so their order is of no matter.

Spec: rooms/v1/#state-resolution
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha1

from conduit_py.matrix.auth import check_event
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.state_res.graph import AuthGraph, StateKey, StateMap

_AUTH_TYPES = ("m.room.power_levels", "m.room.join_rules", "m.room.member")


def resolve_conflict(
    room_version: RoomVersion, graph: AuthGraph, unconflicted: StateMap, conflicted: Sequence[StateMap]
) -> dict[StateKey, EventId]:
    """The entries that the resolved state has beside ``unconflicted``."""
    events_of = _events_by_key(graph, conflicted)
    # A conflict occurs between states where those states have different event_ids for the same key: an entry that only
    # some of them have is none. Start by setting R to the union of the states, excluding any conflicting events.
    added = {key: events[0].event_id for key, events in events_of.items() if len(events) == 1}
    conflicts = {key: events for key, events in events_of.items() if len(events) > 1}

    def is_allowed(event: Pdu, settled: Pdu | None) -> bool:
        def get_state(type: str, state_key: str) -> Pdu | None:
            if settled is not None and (type, state_key) == (settled.type, settled.state_key):
                return settled
            event_id = added.get((type, state_key)) or unconflicted.get((type, state_key))
            return None if event_id is None else graph.event(event_id)

        return check_event(room_version, event, get_state) is None

    # First we resolve conflicts between m.room.power_levels events. Repeat the process for conflicts between
    # m.room.join_rules events, and for conflicts between m.room.member events.
    for auth_type in _AUTH_TYPES:
        of_type = {key: events for key, events in conflicts.items() if key[0] == auth_type}
        added.update({key: _last_allowed(events, is_allowed).event_id for key, events in of_type.items()})

    # No other events affect the authorisation rules, so for all other conflicts, just pick the event with the highest
    # depth and lowest sha1(event_id) that passes authentication in R and add it to R.
    others = {key: events for key, events in conflicts.items() if key[0] not in _AUTH_TYPES}
    added.update({key: _newest_allowed(events, is_allowed).event_id for key, events in others.items()})
    return added


def _events_by_key(graph: AuthGraph, conflicted: Sequence[StateMap]) -> dict[StateKey, list[Pdu]]:
    """All events at each key, sorted by ascending depth then descending sha1(event_id)."""
    found: dict[StateKey, dict[EventId, Pdu]] = {}
    for state in conflicted:
        for key, event_id in state.items():
            event = graph.event(event_id)
            if event is not None:
                found.setdefault(key, {})[event_id] = event
    return {key: sorted(events.values(), key=_newest_first, reverse=True) for key, events in found.items()}


def _newest_first(event: Pdu) -> tuple[int, bytes]:
    return -event.depth, sha1(event.event_id.encode(), usedforsecurity=False).digest()


def _last_allowed(events: Sequence[Pdu], is_allowed: Callable[[Pdu, Pdu | None], bool]) -> Pdu:
    """Add the first event in the list to R. For each subsequent event, if it would be allowed in a room in state R,
    update R with it; if not, stop."""
    settled = events[0]
    for event in events[1:]:
        if not is_allowed(event, settled):
            break
        settled = event
    return settled


def _newest_allowed(events: Sequence[Pdu], is_allowed: Callable[[Pdu, Pdu | None], bool]) -> Pdu:
    for event in reversed(events):
        if is_allowed(event, None):
            return event
    return events[0]
