"""A room's state at a place in its timeline, and what changed between two places.

State is named after every event; the state at a place is the state after the last event before it. The state *before*
an event is that after it with the event's own change undone, which holds also for the first event we know of a room.
"""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.data import short_ids, timeline
from conduit_py.data.state import Entries, StateChain
from conduit_py.matrix.json_slices import Slices
from conduit_py.service.sync.window import Event
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortStateKey, StateId
from kvschema.catalog.timeline import STATE

_GONE = ShortEventId(0)


@dataclass(frozen=True, slots=True)
class PlaceState:
    """The state at one place: a named state, but for one entry."""

    chain: StateChain
    state_id: StateId
    changed_key: ShortStateKey | None = None
    """An entry that is not as the named state says."""
    changed_event: ShortEventId = _GONE

    def get(self, state_key: ShortStateKey) -> ShortEventId | None:
        if state_key == self.changed_key:
            return self.changed_event or None
        return self.chain.get(self.state_id, state_key)

    def find_entries(self, *, may_lack_members: bool = False) -> Slices[Entries]:
        """The whole state. Costs its size, unless it may lack the memberships."""
        find = self.chain.find_entries_but_members if may_lack_members else self.chain.find_entries
        entries = yield from find(self.state_id)
        if self.changed_key is not None:
            entries.pop(self.changed_key, None)
            if self.changed_event:
                entries[self.changed_key] = self.changed_event
        return entries

    def find_keys_other_than(self, other: PlaceState) -> Slices[set[ShortStateKey]]:
        """The keys whose entries may differ between this state and another."""
        keys = {key for key in (self.changed_key, other.changed_key) if key is not None}
        return keys.union((yield from self.chain.find_changes_between(self.state_id, other.state_id)))

    def find_changes_since(self, before: StateId) -> Slices[Entries]:
        """Entries that are new or other than in ``before``. What is gone is not among them: clients cannot be told."""
        if before == self.state_id and self.changed_key is None:
            return {}
        changes = yield from self.chain.find_changes_between(before, self.state_id)
        if self.changed_key is not None:
            changes.pop(self.changed_key, None)
            if self.changed_event != self.chain.get(before, self.changed_key):
                changes[self.changed_key] = self.changed_event
        return {state_key: event for state_key, event in changes.items() if event}


def state_before(snapshot: Snapshot, chain: StateChain, event: Event) -> PlaceState:
    """The state that an event found."""
    _, row = event
    if not row.flags & STATE:
        return PlaceState(chain, row.state_after)
    fields = timeline.client_fields(row)
    state_key = short_ids.get_state_key(snapshot, fields["type"], fields["state_key"])
    return PlaceState(chain, row.state_after, state_key, row.replaces)
