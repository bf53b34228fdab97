"""The mainline of a power levels event, read only as far back as the events to be ordered make necessary.

Spec: rooms/v2/#definitions, "Mainline ordering"
"""

from __future__ import annotations

from math import inf

from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.state_res.graph import AuthGraph


class Mainline:
    """The events P0 (given), P1, P2, ..., each the power levels event that the one before it refers to."""

    def __init__(self, graph: AuthGraph, power_levels: EventId | None) -> None:
        self._graph = graph
        self._positions: dict[EventId, int] = {}
        self._next = None if power_levels is None else graph.event(power_levels)
        self._position_of_power_levels: dict[EventId, float] = {}

    def sort_key(self, event: Pdu) -> tuple[float, int, EventId]:
        """``x < y`` if the mainline position of x is greater, then by ``origin_server_ts``, then by ``event_id``."""
        return -self.position(event), event.origin_server_ts, event.event_id

    def position(self, event: Pdu) -> float:
        """Index of the closest power levels event of the mainline in the event's past; infinite if there is none."""
        power_levels = self._power_levels_of(event)
        if power_levels is None:
            return inf
        known = self._position_of_power_levels
        if power_levels.event_id not in known:
            known[power_levels.event_id] = self._find(power_levels)
        return known[power_levels.event_id]

    def _find(self, power_levels: Pdu) -> float:
        # Both lists end in a common part. Reading one step of each in turn meets its start, and goes no deeper.
        current: Pdu | None = power_levels
        passed: set[EventId] = set()
        while True:
            if current is not None:
                if current.event_id in self._positions:
                    return self._positions[current.event_id]
                passed.add(current.event_id)
                current = self._power_levels_of(current)
                if current is not None and current.event_id in passed:
                    current = None
            extended = self._extend()
            if extended is None and current is None:
                return inf
            if extended in passed:
                return self._positions[extended]

    def _extend(self) -> EventId | None:
        event = self._next
        if event is None or event.event_id in self._positions:
            return None
        self._positions[event.event_id] = len(self._positions)
        self._next = self._power_levels_of(event)
        return event.event_id

    def _power_levels_of(self, event: Pdu) -> Pdu | None:
        return self._graph.auth_event(event, "m.room.power_levels", "")
