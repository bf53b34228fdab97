"""State resolution 2 and 2.1 once more, word for word after the definitions, with no thought for the cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf

from conduit_py.matrix.auth import check_event
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.state_res import StateKey, StateMap

POWER_LEVELS = ("m.room.power_levels", "")


class Reference:
    def __init__(self, room_version: RoomVersion, events: Mapping[EventId, Pdu]) -> None:
        self.room_version = room_version
        self.events = events

    def resolve(self, state_sets: Sequence[StateMap]) -> dict[StateKey, EventId]:
        keys = {key for state in state_sets for key in state}
        values = {key: {state.get(key) for state in state_sets} for key in keys}
        unconflicted = {key: found for key in keys if len(values[key]) == 1 and (found := state_sets[0].get(key))}
        conflicted = {
            found for key in keys if len(values[key]) > 1 for found in values[key] if found and found in self.events
        }
        full = self.full_conflicted_set(state_sets, conflicted)

        power = {event_id for event_id in full if self.is_power_event(event_id)}
        for event_id in list(power):
            power |= self.auth_chain(event_id, within=full)
        ordered = self.power_ordering(power)
        start = {} if self.room_version.state_res == "v2.1" else unconflicted
        partial = self.iterative_auth_checks(start, ordered)
        mainline = self.power_levels_chain(partial.get(POWER_LEVELS))
        remaining = sorted(full - power, key=lambda event_id: self.mainline_key(mainline, event_id))
        return {**self.iterative_auth_checks(partial, remaining), **unconflicted}

    def full_conflicted_set(self, state_sets: Sequence[StateMap], conflicted: set[EventId]) -> set[EventId]:
        chains: list[set[EventId]] = [
            {found for event_id in state.values() for found in self.auth_chain(event_id)} | set(state.values())
            for state in state_sets
        ]
        difference = {one for chain in chains for one in chain if not all(one in other for other in chains)}
        full = conflicted | {event_id for event_id in difference if event_id in self.events}
        if self.room_version.state_res == "v2.1":
            reachable = {found for event_id in conflicted for found in self.auth_chain(event_id)}
            full |= {event_id for event_id in reachable if self.auth_chain(event_id) & conflicted}
        return full

    def auth_chain(self, event_id: EventId, within: set[EventId] | None = None) -> set[EventId]:
        found: set[EventId] = set()
        new = {event_id}
        while new:
            named = {auth for one in new if one in self.events for auth in self.events[one].auth_events}
            new = {auth for auth in named - found if auth in self.events and (within is None or auth in within)}
            found |= new
        return found

    def is_power_event(self, event_id: EventId) -> bool:
        event = self.events[event_id]
        if event.type in ("m.room.power_levels", "m.room.join_rules"):
            return event.state_key == ""
        is_removal = event.type == "m.room.member" and event.content.get("membership") in ("leave", "ban")
        return is_removal and event.sender != event.state_key

    def power_ordering(self, event_ids: set[EventId]) -> list[EventId]:
        ordered: list[EventId] = []
        while len(ordered) < len(event_ids):
            rest = event_ids - set(ordered)
            candidates = [event_id for event_id in rest if not rest & set(self.events[event_id].auth_events)]
            ordered.append(min(candidates, key=self.power_key))
        return ordered

    def power_key(self, event_id: EventId) -> tuple[float, int, EventId]:
        event = self.events[event_id]
        power_levels = self.named(event, *POWER_LEVELS)
        create = self.create_of(event)
        content = None if power_levels is None else power_levels.content
        level = PowerLevels.of_room(self.room_version, content, create).of_user(event.sender)
        return -level, event.origin_server_ts, event_id

    def mainline_key(self, mainline: list[EventId], event_id: EventId) -> tuple[float, int, EventId]:
        event = self.events[event_id]
        chain = self.power_levels_chain(event_id)[1:]
        position = next((mainline.index(one) for one in chain if one in mainline), inf)
        return -position, event.origin_server_ts, event_id

    def power_levels_chain(self, event_id: EventId | None) -> list[EventId]:
        event = None if event_id is None else self.events.get(event_id)
        chain: list[EventId] = []
        while event is not None:
            chain.append(event.event_id)
            event = self.named(event, *POWER_LEVELS)
        return chain

    def iterative_auth_checks(self, start: StateMap, ordered: Iterable[EventId]) -> dict[StateKey, EventId]:
        state = dict(start)
        for event_id in ordered:
            event = self.events[event_id]
            if event.state_key is not None and not check_event(self.room_version, event, self.state_for(event, state)):
                state[event.type, event.state_key] = event_id
        return state

    def state_for(self, event: Pdu, state: StateMap) -> Callable[[str, str], Pdu | None]:
        def get_state(type: str, state_key: str) -> Pdu | None:
            if type == "m.room.create":
                return self.create_of(event)
            event_id = state.get((type, state_key))
            if event_id is not None and event_id in self.events:
                return self.events[event_id]
            named = self.named(event, type, state_key)
            return None if named is None or named.rejected else named

        return get_state

    def create_of(self, event: Pdu) -> Pdu | None:
        if self.room_version.auth.create_in_auth_events:
            return self.named(event, "m.room.create", "")
        return self.events.get(EventId("$" + event.room_id[1:]))

    def named(self, event: Pdu, type: str, state_key: str) -> Pdu | None:
        named = [self.events[auth] for auth in event.auth_events if auth in self.events]
        return next((one for one in named if (one.type, one.state_key) == (type, state_key)), None)
