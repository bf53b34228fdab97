"""Which events of a room a server may be given in full.

It has a joined user in the room now, or it would not be answered at all, so ``shared`` history is all open to it. Only
while history was ``invited`` or ``joined`` does it matter which of its users were in the room at an event. Those that
were at some time are found once, in the current state, which keeps an entry for whoever ever had one.

Spec: server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import trio

from conduit_py.data import deactivated, row_fields, short_ids, timeline
from conduit_py.data.rooms import Room
from conduit_py.data.state import StateChain
from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.matrix.visibility import HistoryVisibility, ServerView, may_server_see, parse_history_visibility
from conduit_py.service.rooms.erased import build_redacted
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortStateKey, StateId
from kvschema.catalog.timeline import OUTLIER, STATE, EventRow

KEYS_PER_SLICE: Final = 1000
"""Entries of a state that are looked at before others get their turn: about 5 ms."""
CHANGES_MAX: Final = 100
"""Changes of the history visibility that are looked at. A room with more of them counts as one that was closed."""

_MEMBER = "m.room.member"
_VISIBILITY = "m.room.history_visibility"
_OPEN = (HistoryVisibility.SHARED, HistoryVisibility.WORLD_READABLE)


@dataclass(frozen=True, slots=True)
class _Moment:
    """A room in one of its states, as the server meets it."""

    view: ServerView
    visibility_event: ShortEventId | None


class ServerSight:
    """Answers for one server and one room, in whatever snapshots it is asked. Made by ``open_sight``."""

    def __init__(self, room: Room, origin: ServerName, member_keys: tuple[ShortStateKey, ...]) -> None:
        self._room = room
        self._origin_suffix = f":{origin}"
        self._member_keys = member_keys
        self._moments: dict[StateId, _Moment] = {}

    def show(self, snapshot: Snapshot, row: EventRow) -> bytes:
        """The event as the server gets it."""
        if not self.may_see(snapshot, row) or self._is_erased(snapshot, row):
            row = build_redacted(snapshot, row)
        return timeline.federation_json(row, self._room.room_id)

    def may_see(self, snapshot: Snapshot, row: EventRow) -> bool:
        """May the server have the event in full, as far as the history visibility goes?"""
        if row.flags & OUTLIER:
            return bool(row.flags & STATE)
        after = self._get_moment(snapshot, row.state_after)
        before = self._view_before(snapshot, row, after)
        return may_server_see(before, after.view, has_joined_since=True)

    def _is_erased(self, snapshot: Snapshot, row: EventRow) -> bool:
        erased = deactivated.get_erased(snapshot)
        return bool(erased) and UserId(row_fields.get_sender(row)) in erased

    def _get_moment(self, snapshot: Snapshot, state_id: StateId) -> _Moment:
        moment = self._moments.get(state_id)
        if moment is None:
            chain = StateChain(snapshot)
            key = short_ids.get_state_key(snapshot, _VISIBILITY, "")
            event = None if key is None else chain.get(state_id, key)
            visibility = parse_history_visibility(_content(snapshot, event))
            memberships = () if visibility in _OPEN else tuple(self._scan_memberships(snapshot, chain, state_id))
            moment = self._moments[state_id] = _Moment(ServerView(visibility, memberships), event)
        return moment

    def _scan_memberships(self, snapshot: Snapshot, chain: StateChain, state_id: StateId) -> Iterator[str]:
        """Those of the server's users, up to the first that is joined: with one of them everything is open."""
        for key in self._member_keys:
            event = chain.get(state_id, key)
            if event is not None:
                membership = _membership(snapshot, event)
                yield membership
                if membership == "join":
                    return

    def _view_before(self, snapshot: Snapshot, row: EventRow, after: _Moment) -> ServerView:
        if not row.flags & STATE:
            return after.view
        replaced = row.replaces or None
        if row_fields.is_of_type(row, _VISIBILITY) and self._is_event(snapshot, row, after.visibility_event):
            return ServerView(parse_history_visibility(_content(snapshot, replaced)), after.view.memberships)
        if replaced is not None and row_fields.is_of_type(row, _MEMBER) and self._is_of_origin(snapshot, row):
            return ServerView(after.view.visibility, (*after.view.memberships, _membership(snapshot, replaced)))
        return after.view

    def _is_of_origin(self, snapshot: Snapshot, row: EventRow) -> bool:
        state_key = timeline.client_fields(row).get("state_key")
        return isinstance(state_key, str) and state_key.endswith(self._origin_suffix)

    def _is_event(self, snapshot: Snapshot, row: EventRow, event: ShortEventId | None) -> bool:
        return event is not None and timeline.require_row(snapshot, event).event_id == row.event_id


async def open_sight(database: Database, room: Room, origin: ServerName) -> ServerSight:
    """Find the server's users in the room, if it matters who they are."""
    with database.snapshot() as snapshot:
        if not _has_been_closed(snapshot, room):
            return ServerSight(room, origin, ())
        entries = StateChain(snapshot).entries(room.state_id)
    suffix = f":{origin}"
    found: list[tuple[ShortEventId, ShortStateKey]] = []
    keys = list(entries)
    for start in range(0, len(keys), KEYS_PER_SLICE):
        await trio.lowlevel.checkpoint()
        with database.snapshot() as snapshot:
            for key in keys[start : start + KEYS_PER_SLICE]:
                record = short_ids.get_state_key_record(snapshot, key)
                if record.type == _MEMBER and record.state_key.endswith(suffix):
                    found.append((entries[key], key))
    # Who has stood in the room for longest comes first, being the likeliest to have been there at any event.
    return ServerSight(room, origin, tuple(key for _, key in sorted(found)))


def _has_been_closed(snapshot: Snapshot, room: Room) -> bool:
    """Was the history ever for members only, as far as the current state shows by what replaced what?"""
    key = short_ids.get_state_key(snapshot, _VISIBILITY, "")
    event = None if key is None else StateChain(snapshot).get(room.state_id, key)
    for _ in range(CHANGES_MAX):
        if not event:
            return False
        if parse_history_visibility(_content(snapshot, event)) not in _OPEN:
            return True
        event = timeline.require_row(snapshot, event).replaces
    return True


def _content(snapshot: Snapshot, event: ShortEventId | None) -> Any:
    return None if event is None else timeline.get_pdu(snapshot, event).content


def _membership(snapshot: Snapshot, event: ShortEventId) -> str:
    membership = _content(snapshot, event).get("membership")
    return membership if isinstance(membership, str) else "leave"
