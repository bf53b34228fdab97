"""Putting events in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush

from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu


def by_prev_events(pdus: Iterable[Pdu]) -> list[Pdu]:
    """Each once and after those of the others that it follows. Of what follows itself in a circle nothing is left."""
    return _sorted(pdus, lambda pdu: (*pdu.prev_events, *pdu.auth_events))


def by_auth_events(pdus: Iterable[Pdu]) -> list[Pdu]:
    """The same for those that it was allowed by."""
    return _sorted(pdus, lambda pdu: pdu.auth_events)


def _sorted(pdus: Iterable[Pdu], references: Callable[[Pdu], Sequence[EventId]]) -> list[Pdu]:
    by_id = {pdu.event_id: pdu for pdu in pdus}
    waiting_for: dict[EventId, int] = {}
    referrers: dict[EventId, list[EventId]] = {event_id: [] for event_id in by_id}
    for event_id, pdu in by_id.items():
        earlier = {other for other in references(pdu) if other in by_id}
        waiting_for[event_id] = len(earlier)
        for other in earlier:
            referrers[other].append(event_id)
    # The place in the input decides between events that do not refer to each other.
    places = {event_id: place for place, event_id in enumerate(by_id)}
    ready = [(places[event_id], event_id) for event_id, count in waiting_for.items() if not count]
    heapify(ready)
    ordered = []
    while ready:
        _, event_id = heappop(ready)
        ordered.append(by_id[event_id])
        for referrer in referrers[event_id]:
            waiting_for[referrer] -= 1
            if not waiting_for[referrer]:
                heappush(ready, (places[referrer], referrer))
    return ordered
