"""The events of one room in one turn: those of the snapshot, and those that were staged on top of it."""

from __future__ import annotations

from conduit_py.data import short_ids, timeline
from conduit_py.data.auth_chain import find_auth_events, get_auth_events
from conduit_py.data.short_ids import ShortIds
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.state_res import StateKey
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortEventId, ShortStateKey
from kvschema.catalog.timeline import EventRow


class StagedEvents:
    """Lives no longer than its turn."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._rows: dict[ShortEventId, EventRow] = {}
        self._pdus: dict[ShortEventId, Pdu] = {}
        self._shorts: dict[EventId, ShortEventId] = {}

    def add(self, event: ShortEventId, row: EventRow, pdu: Pdu) -> None:
        """An event was staged, or staged anew in another form."""
        self._rows[event] = row
        self._pdus[event] = pdu
        self._shorts[pdu.event_id] = event

    def find(self, event_id: EventId) -> ShortEventId | None:
        return self._shorts.get(event_id) or timeline.get_event(self._snapshot, event_id)

    def get_row(self, event: ShortEventId) -> EventRow:
        return self._rows.get(event) or timeline.require_row(self._snapshot, event)

    def get_pdu(self, event: ShortEventId) -> Pdu:
        return self._pdus.get(event) or timeline.get_pdu(self._snapshot, event)

    def get_event_id(self, event: ShortEventId) -> EventId:
        return EventId(self.get_row(event).event_id)

    def get_auth_events(self, event: ShortEventId) -> tuple[ShortEventId, ...]:
        """Those that are stored or staged."""
        pdu = self._pdus.get(event)
        return get_auth_events(self._snapshot, event) if pdu is None else self.find_auth_events(pdu)

    def find_auth_events(self, pdu: Pdu) -> tuple[ShortEventId, ...]:
        """The same of an event that is not stored itself."""
        if not self._shorts:
            return tuple(find_auth_events(self._snapshot, pdu))
        found = (self.find(event_id) for event_id in pdu.auth_events)
        return tuple(event for event in found if event is not None)


class KnownStateKeys:
    """State keys and their short ids in one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._interned: dict[StateKey, ShortStateKey] = {}
        self._names: dict[ShortStateKey, StateKey] = {}

    def find(self, type: str, state_key: str) -> ShortStateKey | None:
        return self._interned.get((type, state_key)) or short_ids.get_state_key(self._snapshot, type, state_key)

    def get_name(self, short: ShortStateKey) -> StateKey:
        name = self._names.get(short)
        if name is None:
            record = short_ids.get_state_key_record(self._snapshot, short)
            name = record.type, record.state_key
        return name


class StateKeys(KnownStateKeys):
    """The same in one turn."""

    def __init__(self, short_ids: ShortIds, snapshot: Snapshot, turn: Turn) -> None:
        super().__init__(snapshot)
        self._short_ids = short_ids
        self._turn = turn

    def intern(self, type: str, state_key: str) -> ShortStateKey:
        known = self.find(type, state_key)
        if known is not None:
            return known
        short = self._short_ids.intern_state_key(self._snapshot, self._turn, type, state_key)
        self._interned[type, state_key] = short
        self._names[short] = type, state_key
        return short
