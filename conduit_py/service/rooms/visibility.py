"""Which events of a room one user may see, at one snapshot.

What counts is the room as it was at the event. It is asked for by the name of the state after it, so that all events up
to the next change of state cost one dict lookup; the state before it differs only by what the event itself replaced.

Spec: client-server-api/#room-history-visibility
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conduit_py.data import members, row_fields, short_ids, state, timeline
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.visibility import HistoryVisibility, UserView, may_user_see, parse_history_visibility
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, StateId
from kvschema.catalog.timeline import STATE, EventRow

_VISIBILITY_TYPE = "m.room.history_visibility"
_MEMBER_TYPE = "m.room.member"
_NEVER = -(1 << 63)
_ALWAYS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class _Moment:
    """A room in one of its states, as the user meets it."""

    view: UserView
    visibility_event: ShortEventId | None
    member_event: ShortEventId | None


@dataclass(frozen=True, slots=True)
class _Standing:
    """How the user stands to a room now."""

    joined_until: int
    """Place in the timeline at which the user was last joined; events before it were followed by a join."""
    is_forgotten: bool


class Visibility:
    """Answers for one local user in one snapshot, and lives no longer than that."""

    def __init__(self, snapshot: Snapshot, user_id: UserId) -> None:
        self._snapshot = snapshot
        self._user_id = user_id
        self._chain = state.StateChain(snapshot)
        self._moments: dict[StateId, _Moment] = {}
        self._events: dict[StateId, tuple[ShortEventId, ...]] = {}
        """What states say of the two entries that count, also of states that were only met on the way."""
        self._by_events: dict[tuple[ShortEventId, ...], _Moment] = {}
        self._standings: dict[ShortRoomId, _Standing] = {}
        self._visibility_key = short_ids.get_state_key(snapshot, _VISIBILITY_TYPE, "")
        self._member_key = short_ids.get_state_key(snapshot, _MEMBER_TYPE, user_id)

    def may_see(self, row: EventRow) -> bool:
        """Rejected and soft-failed events, those without a place in the room, and dummies are seen by nobody.

        A room that the user asked to forget is as closed as to somebody who was never in it.
        """
        if row_fields.is_hidden(row):
            return False
        # Asked for every event of every page: nearly always both are known.
        after = self._moments.get(row.state_after) or self._moment(row.state_after)
        standing = self._standings.get(row.room) or self._standing(row.room)
        if after.view.membership == "join" and not standing.is_forgotten:
            return True
        before = self._view_before(row, after)
        if standing.is_forgotten:
            return HistoryVisibility.WORLD_READABLE in (before.visibility, after.view.visibility)
        return may_user_see(before, after.view, has_joined_since=row.pos < standing.joined_until)

    def sees_all_at(self, row: EventRow) -> bool:
        """Was the user joined right after the event, and has not forgotten the room since? Then that decides."""
        return self.membership_at(row) == "join" and not self.is_forgotten(row.room)

    def membership_at(self, row: EventRow) -> str:
        """The user's ``membership`` right after an event; ``leave`` where there is none.

        Spec: client-server-api/#definition-clientevent_unsigneddata
        """
        return (self._moments.get(row.state_after) or self._moment(row.state_after)).view.membership

    def may_see_state(self, room: ShortRoomId, state_id: StateId, place: int) -> bool:
        """May the user know in which state the room was at a place in its timeline?"""
        view = (self._moments.get(state_id) or self._moment(state_id)).view
        return may_user_see(view, view, has_joined_since=place < self._standing(room).joined_until)

    def is_forgotten(self, room: ShortRoomId) -> bool:
        return self._standing(room).is_forgotten

    def was_joined_after(self, room: ShortRoomId, place: int | None) -> bool:
        """Was the user in the room at any time after a place in its timeline, or ever for None?"""
        return self._standing(room).joined_until > (_NEVER if place is None else place)

    def was_joined_by(self, event: ShortEventId, place: int) -> bool:
        """Had the user, whose membership event is given, been in the room at or before a place in its timeline?"""
        while event:
            row = timeline.require_row(self._snapshot, event)
            if row.pos <= place and self._membership(event) == "join":
                return True
            event = row.replaces
        return False

    def joined_until(self, room: ShortRoomId) -> int:
        """Place in the timeline at which the user was last joined."""
        return self._standing(room).joined_until

    def _moment(self, state_id: StateId) -> _Moment:
        moment = self._moments.get(state_id)
        if moment is None:
            events = self._chain.get_several(state_id, (self._visibility_key, self._member_key), self._events)
            moment = self._by_events.get(events)
            if moment is None:
                visibility, member = (event or None for event in events)
                view = UserView(parse_history_visibility(self._content(visibility)), self._membership(member))
                moment = self._by_events[events] = _Moment(view, visibility, member)
            self._moments[state_id] = moment
        return moment

    def _view_before(self, row: EventRow, after: _Moment) -> UserView:
        if not row.flags & STATE:
            return after.view
        replaced = row.replaces or None
        if self._is_event(row, after.visibility_event):
            return UserView(parse_history_visibility(self._content(replaced)), after.view.membership)
        if self._is_event(row, after.member_event):
            return UserView(after.view.visibility, self._membership(replaced))
        return after.view

    def _is_event(self, row: EventRow, event: ShortEventId | None) -> bool:
        return event is not None and timeline.require_row(self._snapshot, event).event_id == row.event_id

    def _content(self, event: ShortEventId | None) -> Any:
        return None if event is None else timeline.get_pdu(self._snapshot, event).content

    def _membership(self, event: ShortEventId | None) -> str:
        membership = None if event is None else self._content(event).get("membership")
        return membership if isinstance(membership, str) else "leave"

    def _standing(self, room: ShortRoomId) -> _Standing:
        standing = self._standings.get(room)
        if standing is None:
            standing = self._standings[room] = self._read_standing(room)
        return standing

    def _read_standing(self, room: ShortRoomId) -> _Standing:
        user = short_ids.get_user(self._snapshot, self._user_id)
        found = None if user is None else members.get_membership(self._snapshot, user, room)
        if found is None:
            return _Standing(_NEVER, is_forgotten=False)
        kind, row = found
        return _Standing(_ALWAYS if kind == JOIN else self._joined_until(row.event), row.forgotten)

    def _joined_until(self, event: ShortEventId) -> int:
        """Place of the event that ended the user's last time in the room, found back through what replaced what."""
        while event:
            row = timeline.require_row(self._snapshot, event)
            if row.replaces and self._membership(row.replaces) == "join":
                return row.pos or _NEVER
            event = row.replaces
        return _NEVER
