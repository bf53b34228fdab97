"""What is missing in timelines, and what is true between two events: ``conduit_py.data.gaps`` and ``state_at``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.gaps import MISSING_MAX
from conduit_py.data.state_at import get_state_id_at
from conduit_py.data.timeline import get_last_pos, get_row
from conduit_py.storage.database import Snapshot
from kvschema.catalog import rooms, state, timeline
from kvschema.catalog.rooms import StateId
from kvschema.catalog.state import ByState
from kvschema.catalog.timeline import OUTLIER, Gap, PduId


def check_gaps(snapshot: Snapshot) -> Iterator[str]:
    """Every gap lies before an event, with free places for what is missing, and that is missing."""
    for key, gap in timeline.ROOMID_GAP.scan(snapshot):
        for problem in _about_gap(snapshot, key, gap):
            yield f"roomid_gap: {key} {problem}"


def _about_gap(snapshot: Snapshot, key: PduId, gap: Gap) -> Iterator[str]:
    if not timeline.PDUID_SHORTEVENTID.has(snapshot, key):
        yield "is before no event"
    if not gap.last_pos <= gap.next_pos + 1 or gap.next_pos >= key.pos:
        yield f"has the places {gap.last_pos} to {gap.next_pos}"
    first, last = PduId(key.room, gap.last_pos - 1), PduId(key.room, gap.next_pos)
    if any(True for _ in timeline.PDUID_SHORTEVENTID.scan_keys(snapshot, key.room, after=first, until=last)):
        yield "has events at the places that are kept for it"
    if not 0 < len(gap.missing) <= MISSING_MAX:
        yield f"misses {len(gap.missing)} events"
    for event_id in gap.missing:
        event = timeline.EVENTID_SHORTEVENTID.get(snapshot, timeline.ByEventId(event_id))
        row = None if event is None else get_row(snapshot, rooms.ShortEventId(event))
        if row is not None and not row.flags & OUTLIER:
            yield f"misses {event_id}, which is there"


def check_states_at(snapshot: Snapshot) -> Iterator[str]:
    """States of places are stored, and a room is in the state of its last place."""
    for key, state_id in state.ROOMPOS_STATEID.scan(snapshot):
        if not state.STATEID_STATEDIFF.has(snapshot, ByState(StateId(state_id))):
            yield f"roompos_stateid: {key} is the state {state_id}, which is not stored"
        if not state.ROOMID_STATEID.has(snapshot, rooms.ByRoom(key.room)):
            yield f"roompos_stateid: {key} is of a room that has no state"


def check_current_places(snapshot: Snapshot) -> Iterator[str]:
    """A room is now in the state of the last place of its timeline."""
    for key, state_id in state.ROOMID_STATEID.scan(snapshot):
        last = get_last_pos(snapshot, key.room)
        at = get_state_id_at(snapshot, key.room, max(last, snapshot.pos))
        if last and at != state_id:
            yield f"roomid_shortstatehash: room {key.room} is in the state {state_id}, and its timeline ends in {at}"
