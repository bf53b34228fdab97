"""Which state events a reply carries for a room.

Let *since* be the place up to which the client knows the room, *start* the place where the timeline of the reply
begins, and *end* where it ends. ``state`` carries what differs between *since* and *start*, or the whole state at
*start* for a room that is new to the client; ``state_after`` the same with *end* for *start*. Two named states are
compared, so a gap costs what changed in it and not the size of the room. For a user who left, *start* and *end* lie no
later than that: a ban that follows is told, but not what became of the room until then.

A client lays the state events of the timeline over ``state``. What it gets by that may not be the state at *end*: a
state event was left out by the timeline's filter, or the room had several ends and something else came out when they
were resolved. So of all entries that no event in the timeline sets, ``state`` carries those of the *end*.

Lazy loading: of a whole state only those members are sent that the reply needs, which are the senders in the timeline,
the heroes and the user. Of a difference all members are sent, for they changed. Both may leave out what the device
knows (see ``lazy``), except for changes.

Spec: client-server-api/#syncing, client-server-api/#lazy-loading-room-members
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from conduit_py.data import row_fields, short_ids, timeline
from conduit_py.data.state import KEYS_AT_ONCE, Entries
from conduit_py.data.state_at import get_state_id_at
from conduit_py.matrix.json_slices import Slices
from conduit_py.service.rooms.client_events import REDACTION
from conduit_py.service.sync.lazy import SentMembers
from conduit_py.service.sync.room_state import PlaceState, state_before
from conduit_py.service.sync.slice import Scope, Slice
from conduit_py.service.sync.summary import SUMMARY_TYPES, Summary
from conduit_py.service.sync.window import Window
from conduit_py.slices import portions
from kvschema.catalog.rooms import ShortEventId, ShortStateKey
from kvschema.catalog.timeline import STATE, EventRow

MEMBER = "m.room.member"


@dataclass(frozen=True, slots=True)
class RoomState:
    """The state of a room around the timeline that is shown."""

    base: PlaceState
    """At the start or the end of the timeline, whichever the client asked about."""
    entries: Entries
    """What to tell of ``base``, before filters; maybe without members where those are chosen one by one."""


def read_state(slice_: Slice, scope: Scope, window: Window) -> Slices[RoomState]:
    """``window`` must have been read for ``scope``."""
    is_after = slice_.view.request.state_after is not None
    place = scope.until if is_after else window.start
    is_past = scope.state_until is not None and place > scope.state_until
    if scope.state_until is not None and is_past:
        base = slice_.state_at(scope.room, scope.state_until)
    elif is_after or window.first is None:
        base = slice_.state_at(scope.room, scope.until)
    else:
        base = state_before(slice_.snapshot, slice_.chain, window.first)
    if not scope.has_state:
        return RoomState(base, {})
    if scope.is_full or scope.after is None:
        # Of a whole state, lazy loading chooses members by itself.
        lacks_members = slice_.view.filter.room.state.lazy_load_members and scope.is_full
        entries = yield from base.find_entries(may_lack_members=lacks_members)
    else:
        entries = yield from base.find_changes_since(get_state_id_at(slice_.snapshot, scope.room, scope.after))
    if not is_after:
        if window.first is not None and not is_past:
            yield from _set_unsaid(slice_, scope, window, base, entries)
    elif is_past and scope.always is not None:
        entries[_key_of(slice_, timeline.require_row(slice_.snapshot, scope.always))] = scope.always
    return RoomState(base, entries)


def _set_unsaid(slice_: Slice, scope: Scope, window: Window, base: PlaceState, entries: Entries) -> Slices[None]:
    """Let entries that no event in the timeline sets be as they are at its end."""
    said = {_key_of(slice_, row) for _, row in window.events if row.flags & STATE}
    end = slice_.state_at(scope.room, scope.until if scope.state_until is None else min(scope.until, scope.state_until))
    since = None
    if not scope.is_full and scope.after is not None:
        since = get_state_id_at(slice_.snapshot, scope.room, scope.after)
    differing = yield from end.find_keys_other_than(base)
    for keys in portions(differing - said, KEYS_AT_ONCE):
        for key in keys:
            event = end.get(key)
            is_known = since is not None and slice_.chain.get(since, key) == event
            if event is None or is_known:
                entries.pop(key, None)
            else:
                entries[key] = event
        yield


def _key_of(slice_: Slice, row: EventRow) -> ShortStateKey:
    fields = timeline.client_fields(row)
    state_key = short_ids.get_state_key(slice_.snapshot, fields["type"], fields["state_key"])
    assert state_key is not None, "a state event without its key"
    return state_key


def touches_summary(slice_: Slice, state: RoomState, window: Window) -> Slices[bool]:
    """Did anything change that a summary is made of? A redaction may take the name away."""
    rows = [row for events in (window.events, window.left_out) for _, row in events]
    if any(row.flags & STATE and row_fields.get_type(row) in SUMMARY_TYPES for row in rows):
        return True
    if any(row_fields.is_of_type(row, REDACTION) for row in rows):
        return True
    for keys in portions(state.entries, KEYS_AT_ONCE):
        if any(short_ids.get_state_key_record(slice_.snapshot, key).type in SUMMARY_TYPES for key in keys):
            return True
        yield
    return False


def choose_state(slice_: Slice, scope: Scope, state: RoomState) -> Slices[set[ShortEventId]]:
    """The events to send, but for members that are lazy-loaded."""
    filter_ = slice_.view.filter.room.state
    leaves_out_members = filter_.lazy_load_members and scope.is_full
    if not leaves_out_members and filter_.types is None and not filter_.not_types.types:
        return set(state.entries.values())
    chosen = set()
    for items in portions(state.entries.items(), KEYS_AT_ONCE):
        for state_key, event in items:
            record = short_ids.get_state_key_record(slice_.snapshot, state_key)
            if filter_.matches_type(record.type) and not (leaves_out_members and record.type == MEMBER):
                chosen.add(event)
        yield
    return chosen


def choose_members(
    slice_: Slice, scope: Scope, state: RoomState, window: Window, summary: Summary | None, sent: SentMembers
) -> set[ShortEventId]:
    """The members that a lazy-loading client needs for what it is shown."""
    filter_ = slice_.view.filter.room.state
    if not scope.has_state or not filter_.matches_type(MEMBER):
        return set()
    needed = {row_fields.get_sender(row) for _, row in window.events}
    if scope.is_full:
        needed.add(slice_.view.requester.user_id)
    if summary is not None and summary.heroes is not None:
        needed.update(summary.heroes)
    members = _get_members(slice_, state.base, needed)
    return {event for event in members if filter_.include_redundant_members or event not in sent}


def _get_members(slice_: Slice, base: PlaceState, user_ids: Iterable[str]) -> Iterable[ShortEventId]:
    for user_id in user_ids:
        state_key = short_ids.get_state_key(slice_.snapshot, MEMBER, user_id)
        event = None if state_key is None else base.get(state_key)
        if event is not None:
            yield event
