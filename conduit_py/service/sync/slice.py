"""What a reply is made from, one snapshot at a time, and how one room is looked at in it."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.data import short_ids, timeline
from conduit_py.data.state import StateChain
from conduit_py.data.state_at import get_state_id_at
from conduit_py.service.rooms.access import is_world_readable
from conduit_py.service.rooms.aggregations import bundle_relations
from conduit_py.service.rooms.client_events import ClientEvents
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.service.sync.plan import RoomEntry
from conduit_py.service.sync.room_state import PlaceState
from conduit_py.service.sync.since import View
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import BAN, LEAVE
from kvschema.catalog.rooms import ShortEventId, ShortRoomId


class Slice:
    """One snapshot, and what is remembered for as long as it is open. The states go on in the next one."""

    def __init__(self, snapshot: Snapshot, view: View) -> None:
        self.view = view
        self.chain = StateChain(snapshot)
        self.go_on(snapshot)

    def go_on(self, snapshot: Snapshot) -> None:
        """Read from this snapshot from now on."""
        view = self.view
        self.snapshot = snapshot
        self.visibility = Visibility(snapshot, view.requester.user_id)
        self.chain.go_on(snapshot)
        self.events = ClientEvents(
            snapshot,
            view.requester,
            self.visibility,
            now_ms=view.now_ms,
            event_format=view.filter.event_format,
            event_fields=view.filter.event_fields,
            get_relations=bundle_relations,
        )

    def state_at(self, room: ShortRoomId, place: int) -> PlaceState:
        return PlaceState(self.chain, get_state_id_at(self.snapshot, room, place))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which part of one room is told."""

    room: ShortRoomId
    after: int | None
    until: int
    is_full: bool
    """All of its state, not what changed after ``after``."""
    has_state: bool = True
    always: ShortEventId | None = None
    """The event that made the user's membership what it is: shown whatever the history visibility says."""
    state_until: int | None = None
    """The place at which the user left, after which the room's state is not the user's to see."""


def scope_of(slice_: Slice, entry: RoomEntry) -> Scope:
    """A room that the user went from ends where it ended, and begins where the user's own time in it began."""
    if entry.kind not in (LEAVE, BAN):
        return Scope(room=entry.room, after=entry.after, until=slice_.view.until, is_full=entry.is_full)
    assert entry.membership is not None
    event = entry.membership.event
    if not event:  # An invite to a room that this server was never in.
        pos = entry.membership.pos
        return Scope(room=entry.room, after=pos, until=pos, is_full=False, has_state=False)
    # One without a place has come into the state by resolution.
    until = timeline.require_row(slice_.snapshot, event).pos or entry.membership.pos
    visibility = slice_.visibility
    ends = None if is_world_readable(slice_.snapshot, entry.room) else visibility.joined_until(entry.room)
    if _was_joined_at(slice_, entry):
        return Scope(room=entry.room, after=entry.after, until=until, is_full=False, always=event, state_until=ends)
    if visibility.was_joined_after(entry.room, entry.after) and not visibility.is_forgotten(entry.room):
        return Scope(room=entry.room, after=None, until=until, is_full=True, always=event, state_until=ends)
    return Scope(room=entry.room, after=until - 1, until=until, is_full=False, has_state=False, always=event)


def _was_joined_at(slice_: Slice, entry: RoomEntry) -> bool:
    """Did the client know the room as joined? A forgotten room is told of no more than that it is gone."""
    if entry.after is None or slice_.visibility.is_forgotten(entry.room):
        return False
    state_key = short_ids.get_state_key(slice_.snapshot, "m.room.member", slice_.view.requester.user_id)
    event = None if state_key is None else slice_.state_at(entry.room, entry.after).get(state_key)
    return event is not None and timeline.get_pdu(slice_.snapshot, event).content.get("membership") == "join"
