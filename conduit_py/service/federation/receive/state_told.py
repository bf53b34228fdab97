"""A room's state before an event as another server tells it, in the terms of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from conduit_py.data import short_ids, timeline
from conduit_py.data.row_fields import get_type
from conduit_py.data.state import (
    ENTRIES_AT_ONCE,
    LOOSE_MAX,
    Entries,
    LooseState,
    encode_whole,
    get_current_state_id,
    in_snapshots,
)
from conduit_py.data.timeline import client_fields
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.json_slices import Slices
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.slices import portions, run_slices
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.timeline import REJECTED, STATE

EVENTS_PER_SLICE: Final = 150
"""Events looked up before others get their turn: about 10 ms."""


async def lay_out_state(
    database: Database, writes: RoomWrites, room: ShortRoomId, event_ids: Sequence[EventId]
) -> LooseState:
    """The state of ``event_ids``, as its difference from the room's current one; named if that is much.

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
    current = await run_slices(in_snapshots(database, lambda chain: chain.find_entries(base)))
    changes = await run_slices(_find_changes(current, entries))
    if len(changes) <= LOOSE_MAX:
        return LooseState(base, changes)
    return LooseState(await writes.store_state(await run_slices(encode_whole(entries))))


def _find_changes(before: Entries, after: Entries) -> Slices[Entries]:
    changes: Entries = {}
    for items in portions(after.items(), ENTRIES_AT_ONCE):
        changes.update(it for it in items if before.get(it[0]) != it[1])
        yield
    for keys in portions(before, ENTRIES_AT_ONCE):
        changes.update((key, ShortEventId(0)) for key in keys if key not in after)
        yield
    return changes


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
