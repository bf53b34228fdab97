"""A room's state before an event as another server tells it, in the terms of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from conduit_py.data import short_ids, timeline
from conduit_py.data.row_fields import get_type
from conduit_py.data.state import LooseState, StateChain, get_current_state_id
from conduit_py.data.timeline import client_fields
from conduit_py.matrix.ids import EventId
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortStateKey
from kvschema.catalog.timeline import REJECTED, STATE

EVENTS_PER_SLICE: Final = 300
"""Events looked up before others get their turn: about 10 ms."""

Entries = dict[ShortStateKey, ShortEventId]


async def lay_out_state(database: Database, room: ShortRoomId, event_ids: Sequence[EventId]) -> LooseState:
    """The state of ``event_ids``, as its difference from the room's current one.

    What is not held, is rejected, or is no state of the room takes no part.
    """
    entries: Entries = {}
    for start in range(0, len(event_ids), EVENTS_PER_SLICE):
        await trio.lowlevel.checkpoint()
        with database.snapshot() as snapshot:
            _add_entries(snapshot, room, event_ids[start : start + EVENTS_PER_SLICE], entries)
    await trio.lowlevel.checkpoint()
    with database.snapshot() as snapshot:
        base = get_current_state_id(snapshot, room)
        current = StateChain(snapshot).entries(base)
    differing = [key for key in entries.keys() | current.keys() if current.get(key) != entries.get(key)]
    # Sorted as they will be stored: what is sorted already is quickly sorted again.
    changes = {key: entries.get(key, ShortEventId(0)) for key in sorted(differing)}
    return LooseState(base, changes)


def _add_entries(snapshot: Snapshot, room: ShortRoomId, event_ids: Sequence[EventId], entries: Entries) -> None:
    for event_id in event_ids:
        found = timeline.find_row(snapshot, event_id)
        if found is None:
            continue
        event, row = found
        if row.room != room or row.flags & REJECTED or not row.flags & STATE:
            continue
        key = short_ids.get_state_key(snapshot, get_type(row), client_fields(row)["state_key"])
        if key is not None:
            entries.setdefault(key, event)
