"""The rooms of a space: which of its state names children."""

from __future__ import annotations

from typing import cast

from conduit_py.data.short_ids import get_state_key_record
from conduit_py.data.state import StateChain
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortEventId, StateId

SPACE_CHILD = "m.space.child"
_CACHED_BYTES = 100


def get_child_events(snapshot: Snapshot, state_id: StateId) -> tuple[ShortEventId, ...]:
    """The ``m.space.child`` events of a state. Costs its size the first time it is asked for."""
    name = ("children", state_id)
    cached = snapshot.cache.get(name, snapshot.pos)
    if cached is None:
        entries = StateChain(snapshot).entries(state_id)
        cached = tuple(
            event for key, event in entries.items() if get_state_key_record(snapshot, key).type == SPACE_CHILD
        )
        # What a state consists of never changes, so nothing ever makes this wrong.
        snapshot.cache.put(name, cached, _CACHED_BYTES + 40 * len(cached), snapshot.pos)
    return cast("tuple[ShortEventId, ...]", cached)
