"""The state of a room at a place of its timeline."""

from __future__ import annotations

from conduit_py.data.state import EMPTY
from conduit_py.data.timeline import require_row, scan_timeline
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import state
from kvschema.catalog.rooms import ShortRoomId, StateId
from kvschema.catalog.timeline import OUTLIER, REJECTED, SOFT_FAILED, PduId

HIDDEN = REJECTED | SOFT_FAILED | OUTLIER
"""Events that have no part in the room's timeline."""


def get_state_id_at(snapshot: Snapshot, room: ShortRoomId, place: int) -> StateId:
    """The state after everything up to ``place``; the empty one before the first event that we have.

    That is the state after the last event, unless the room had several ends then and was in what resolved from them.
    """
    return snapshot.once(("stateat", room, place), lambda: _read_state_id_at(snapshot, room, place))


def _read_state_id_at(snapshot: Snapshot, room: ShortRoomId, place: int) -> StateId:
    pos, state_id = None, EMPTY
    for pos_of_event, event in scan_timeline(snapshot, room, after=place + 1, reverse=True):
        row = require_row(snapshot, event)
        if not row.flags & HIDDEN:
            pos, state_id = pos_of_event, row.state_after
            break
    if pos is None:
        return EMPTY
    named = state.ROOMPOS_STATEID.scan(
        snapshot, room, after=PduId(room, place + 1), until=PduId(room, pos), reverse=True
    )
    return next((StateId(name) for _, name in named), state_id)


def stage_state_at(turn: Turn, room: ShortRoomId, place: int, state_id: StateId) -> None:
    """From ``place`` on the room is in a state that is not the one after the last event."""
    turn.batch.put(state.ROOMPOS_STATEID, PduId(room, place), state_id)
