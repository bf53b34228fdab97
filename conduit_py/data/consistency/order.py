"""How the events of a room follow each other: the states they lead through and the ends they leave open."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.consistency.events import read_references, state_entry
from conduit_py.data.consistency.states import is_chain_whole
from conduit_py.data.gaps import get_gap
from conduit_py.data.rooms import EXTREMITIES_MAX
from conduit_py.data.short_ids import get_state_key
from conduit_py.data.state import EMPTY, StateChain
from conduit_py.data.timeline import get_event, get_row, scan_timeline
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.storage.database import Snapshot
from kvschema.catalog import rooms, state, timeline
from kvschema.catalog.rooms import ByRoomEvent, ShortEventId, ShortRoomId, StateId
from kvschema.catalog.timeline import REJECTED, SOFT_FAILED, EventRow, PduId

_NOT_ACCEPTED = REJECTED | SOFT_FAILED
_POS_MIN, _POS_MAX = -(1 << 63), (1 << 63) - 1


def check_states_after(snapshot: Snapshot) -> Iterator[str]:
    """The state after an event is stored; where it has one predecessor, it is the state after that, and its own change.

    Where it has several, the state before it was resolved from theirs, which is not done again here; and what comes
    right after a return to the room follows the state that another server told.
    """
    chain = StateChain(snapshot)
    for room, event, row, previous in _scan_events(snapshot):
        where = f"shorteventid_pdu: {row.event_id} ({event})"
        if row.pos < 0:
            continue
        if not is_chain_whole(snapshot, row.state_after):
            yield f"{where} leads to the state {row.state_after}, which is not whole"
            continue
        before = _state_before(snapshot, event, previous)
        if before is None or not is_chain_whole(snapshot, before) or _is_return(snapshot, room, row):
            continue
        changed = chain.changes_between(before, row.state_after)
        entry = None if row.flags & REJECTED else state_entry(row)
        short = None if entry is None else get_state_key(snapshot, *entry)
        expected = {} if short is None else {short: event}
        if changed != expected:
            yield f"{where} changes the state by {changed} instead of {expected}"


def _state_before(snapshot: Snapshot, event: ShortEventId, event_ids: tuple[EventId, ...]) -> StateId | None:
    """The state after the only predecessor, None if that is not known, or may not have been yet when the event came.

    When a predecessor that was stored before it had its place got that, nobody knows: it may have been put back into
    a gap before the event. A create event follows the empty state.
    """
    if not event_ids:
        return EMPTY
    previous = get_event(snapshot, event_ids[0]) if len(event_ids) == 1 else None
    row = None if previous is None or previous > event else get_row(snapshot, previous)
    was_early = row is not None and row.pos not in (0, previous)
    return None if row is None or row.flags & timeline.OUTLIER or was_early else row.state_after


def _is_return(snapshot: Snapshot, room: ShortRoomId, row: EventRow) -> bool:
    """Is it the first event since this server was in the room again?"""
    earlier = next(scan_timeline(snapshot, room, after=row.pos, reverse=True), None)
    return earlier is not None and earlier[0] < _find_return(snapshot, room, earlier[0]) < row.pos


def check_extremities(snapshot: Snapshot) -> Iterator[str]:
    """The forward extremities are the accepted events of the timeline that no accepted event refers to."""
    current: ShortRoomId | None = None
    ends, came_back = _OpenEnds(), _POS_MAX
    for room, event, row, previous in _scan_events(snapshot):
        if room != current:
            if current is not None:
                yield from _compare(snapshot, current, ends)
            current, ends = room, _OpenEnds()
            came_back = _find_return(snapshot, room, _POS_MIN)
        if row.pos > came_back or get_gap(snapshot, room, row.pos) is not None:
            ends.doubt()
        if row.pos > came_back:
            came_back = _find_return(snapshot, room, row.pos)
        if not row.flags & _NOT_ACCEPTED:
            ends.add(event, row, previous)
    if current is not None:
        yield from _compare(snapshot, current, ends)
    for key in rooms.ROOMID_PDULEAVES.scan_keys(snapshot):
        leaf = get_row(snapshot, key.event)
        if leaf is None or leaf.room != key.room or not leaf.pos:
            yield f"roomid_pduleaves: room {key.room} ends in {key.event}, which is not in its timeline"


def _find_return(snapshot: Snapshot, room: ShortRoomId, after: int) -> int:
    """When the next time begins that this server was in the room again: a state that no event at its place made."""
    for key in state.ROOMPOS_STATEID.scan_keys(snapshot, room, after=PduId(room, after)):
        if not timeline.PDUID_SHORTEVENTID.has(snapshot, key):
            return key.pos
    return _POS_MAX


class _OpenEnds:
    """Events that nobody has referred to yet. Holds about as many as a room has branches."""

    def __init__(self) -> None:
        self._open: dict[EventId, ShortEventId] = {}
        self._referred_early: set[EventId] = set()
        self.doubted: set[ShortEventId] = set()
        """Events that are ends or not: what is missing may refer to them, or the room went on without them."""

    def add(self, event: ShortEventId, row: EventRow, previous: tuple[EventId, ...]) -> None:
        event_id = EventId(row.event_id)
        if event_id in self._referred_early:
            self._referred_early.remove(event_id)
        elif row.pos > 0:
            self._open[event_id] = event
        for each in previous:
            if self._open.pop(each, None) is None:
                self._referred_early.add(each)

    def doubt(self) -> None:
        """Events are missing after those that were added."""
        self.doubted |= self.events

    @property
    def events(self) -> set[ShortEventId]:
        return set(self._open.values())


def _compare(snapshot: Snapshot, room: ShortRoomId, ends: _OpenEnds) -> Iterator[str]:
    stored = {key.event for key in rooms.ROOMID_PDULEAVES.scan_keys(snapshot, room)}
    # Of too many, those that came first are given up.
    is_full = len(stored) >= EXTREMITIES_MAX
    for event in sorted(() if is_full else ends.events - stored - ends.doubted):
        yield f"roomid_pduleaves: {ByRoomEvent(room, event)} is missing"
    for event in sorted(stored - ends.events):
        yield f"roomid_pduleaves: {ByRoomEvent(room, event)} follows from nothing"


def _scan_events(snapshot: Snapshot) -> Iterator[tuple[ShortRoomId, ShortEventId, EventRow, tuple[EventId, ...]]]:
    """The events of all timelines with what they follow, room by room in their order."""
    for room, record in rooms.SHORTROOMID_ROOM.scan(snapshot):
        version = ROOM_VERSIONS.get(record.room_version)
        for _, event in scan_timeline(snapshot, room.room):
            row = get_row(snapshot, event)
            previous = None if row is None or version is None else read_references(row, "prev_events", version)
            if row is not None and previous is not None:
                yield room.room, event, row, previous
