"""What a reply says about one room that the user is in or was in.

It is made in steps, since a large room has more state than fits into one slice: ``begin_section`` reads and decides
everything, and rests wherever states may differ in much, ``render_more`` renders state events until there are none
left, ``render`` puts the section together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson

from conduit_py.data import account_data, row_fields, short_ids
from conduit_py.matrix.filters import RoomEventFilter
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.json_slices import Slices
from conduit_py.matrix.sync_token import format_place
from conduit_py.service.rooms.typing import TypingService
from conduit_py.service.sync.ephemeral import RECEIPT, TYPING, build_receipts, build_typing, build_unread
from conduit_py.service.sync.lazy import SentMembers
from conduit_py.service.sync.plan import Plan, RoomEntry
from conduit_py.service.sync.since import View
from conduit_py.service.sync.slice import Scope, Slice, scope_of
from conduit_py.service.sync.state_choice import MEMBER, choose_members, choose_state, read_state, touches_summary
from conduit_py.service.sync.summary import Summary, build_summary
from conduit_py.service.sync.window import Window, read_window
from kvschema.catalog.account_data import AccountData
from kvschema.catalog.members import JOIN, Farewell
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import STATE, EventRow

STATE_PER_STEP = 200


@dataclass(slots=True)
class RoomSection:
    """A section that is being made."""

    entry: RoomEntry
    room_id: RoomId
    timeline: bytes
    has_timeline: bool
    summary: Summary | None
    state_todo: list[ShortEventId]
    """In stream order."""
    state: list[bytes] = field(default_factory=list)
    """Events, several in each: copied as seldom as can be, since they may be many megabytes."""

    def render_more(self, slice_: Slice) -> bool:
        """Render some of the state. False when there is no more."""
        step, self.state_todo = self.state_todo[:STATE_PER_STEP], self.state_todo[STATE_PER_STEP:]
        wants = _row_filter(slice_.view.filter.room.state)
        facts = row_fields.get_all_facts(slice_.snapshot, step)
        if wants is not _wants_all:
            facts = [it for it in facts if wants(it.row)]
        rendered = slice_.events.render_state(facts, room_id=None)
        if rendered:
            self.state.append(b",".join(rendered))
        return bool(self.state_todo)

    def render(self, slice_: Slice, plan: Plan, typing: TypingService) -> bytes | None:
        """The section as a member of ``rooms.join`` or ``rooms.leave``; None if there is nothing new to tell."""
        view, entry = slice_.view, self.entry
        is_joined = entry.kind == JOIN
        data = _build_account_data(slice_, entry, plan)
        ephemeral = _build_ephemeral(slice_, entry, plan, typing) if is_joined else []
        is_empty = not (self.has_timeline or self.state or data or ephemeral)
        if is_empty and is_joined and not entry.is_full:
            return None
        state_name = (view.request.state_after or "state").encode()
        head = b'%b:{"%b":{"events":[' % (orjson.dumps(self.room_id), state_name)
        parts = [
            b'"timeline":' + self.timeline,
            b'"account_data":' + render_events(data),
        ]
        if is_joined:
            parts.append(b'"ephemeral":' + render_events(ephemeral))
            parts += build_unread(slice_.snapshot, entry.room, view)
        if self.summary is not None:
            parts.append(b'"summary":' + self.summary.render())
        return b"".join((head, b",".join(self.state), b"]},", b",".join(parts), b"}"))


def begin_section(
    slice_: Slice, entry: RoomEntry, sent: SentMembers | None, telling: set[ShortEventId]
) -> Slices[RoomSection]:
    """Read a room and decide what to tell of it.

    ``sent`` is what the device knows if members are lazy-loaded; ``telling`` collects the members that it is told.
    ``slice_`` may go on in another snapshot wherever this yields.
    """
    view = slice_.view
    room_id = RoomId(short_ids.get_room_record(slice_.snapshot, entry.room).room_id)
    scope = scope_of(slice_, entry)
    window = _read_window(slice_, entry, scope, room_id)
    state = yield from read_state(slice_, scope, window)
    summary = None
    if entry.kind == JOIN and (scope.is_full or (yield from touches_summary(slice_, state, window))):
        end = slice_.state_at(entry.room, scope.until)
        summary = yield from build_summary(slice_, entry.room, end)
    todo = yield from choose_state(slice_, scope, state)
    if sent is not None:
        todo |= choose_members(slice_, scope, state, window, summary, sent)
        telling.update(todo)
        telling.update(event for event, row in window.events if row_fields.is_of_type(row, MEMBER))
    if not view.filter.room.state.matches_room(room_id):
        todo = set()
    is_limited = window.is_limited or (entry.kind == JOIN and (view.is_gap or _begins_anew(slice_, entry, window)))
    return RoomSection(
        entry=entry,
        room_id=room_id,
        timeline=_render_timeline(slice_, window, is_limited=is_limited),
        has_timeline=bool(window.events) or window.is_limited,
        summary=summary,
        state_todo=sorted(todo),
    )


def _begins_anew(slice_: Slice, entry: RoomEntry, window: Window) -> bool:
    """Does the timeline hold what the client may have been told, when the user was in the room before?

    Said to be limited, it takes the place of what the client has; otherwise the client would have that twice.
    """
    since = slice_.view.since
    if since is None or entry.after is not None or entry.membership is None or window.start >= since:
        return False
    return slice_.visibility.was_joined_by(entry.membership.event, since)


def _read_window(slice_: Slice, entry: RoomEntry, scope: Scope, room_id: RoomId) -> Window:
    view = slice_.view
    if not entry.has_news:
        return Window([], [], None, scope.until, is_limited=False)
    filter_ = view.filter.room.timeline
    wants = _row_filter(filter_) if filter_.matches_room(room_id) else _wants_nothing
    if view.ignored:
        wants = _without_ignored(wants, view)
    return read_window(
        slice_.snapshot,
        scope.room,
        slice_.visibility,
        after=scope.after,
        until=scope.until,
        limit=view.timeline_limit,
        wants=wants,
        always=scope.always,
    )


def _wants_nothing(row: EventRow) -> bool:
    return False


def _wants_all(row: EventRow) -> bool:
    return True


def _row_filter(filter_: RoomEventFilter) -> Callable[[EventRow], bool]:
    if filter_.passes_all:
        return _wants_all
    asks_for_url = filter_.contains_url is not None

    def wants(row: EventRow) -> bool:
        has_url = asks_for_url and row_fields.has_url(row)
        return filter_.matches_event(row_fields.get_type(row), row_fields.get_sender(row), has_url=has_url)

    return wants


def _without_ignored(wants: Callable[[EventRow], bool], view: View) -> Callable[[EventRow], bool]:
    """State events are sent whoever sent them. Spec: client-server-api/#ignoring-users"""

    def wants_from_others(row: EventRow) -> bool:
        return (bool(row.flags & STATE) or row_fields.get_sender(row) not in view.ignored) and wants(row)

    return wants_from_others


def _render_timeline(slice_: Slice, window: Window, *, is_limited: bool) -> bytes:
    events = [slice_.events.render(event, row, room_id=None) for event, row in window.events]
    return b'{"events":[%s],"limited":%s,"prev_batch":"%s"}' % (
        b",".join(events),
        b"true" if is_limited else b"false",
        format_place(window.start).encode(),
    )


def _build_ephemeral(slice_: Slice, entry: RoomEntry, plan: Plan, typing: TypingService) -> list[bytes]:
    view, filter_ = slice_.view, slice_.view.filter.room.ephemeral
    room_id = short_ids.get_room_record(slice_.snapshot, entry.room).room_id
    if not filter_.matches_room(room_id):
        return []
    events = []
    if entry.has_news and filter_.matches_type(RECEIPT):
        events += build_receipts(slice_.snapshot, entry.room, view, after=entry.after or 0)
    if filter_.matches_type(TYPING):
        user_ids = typing.get_typing(entry.room)
        is_new = entry.after is None
        if user_ids if is_new else entry.room in plan.typing:
            events.append(build_typing(user_ids, view))
    return events


def _build_account_data(slice_: Slice, entry: RoomEntry, plan: Plan) -> list[bytes]:
    filter_ = slice_.view.filter.room.account_data
    if not filter_.matches_room(short_ids.get_room_record(slice_.snapshot, entry.room).room_id):
        return []
    rows: Iterable[AccountData] = plan.room_data.get(entry.room, ())
    if entry.after is None:
        rows = account_data.scan_in_room(slice_.snapshot, slice_.view.requester.user, entry.room)
    return [render_data(row.type, row.content.encode()) for row in rows if filter_.matches_type(row.type)]


def render_farewell(farewell: Farewell, until: int) -> bytes:
    """A member of ``rooms.leave`` for a room that is not here any more."""
    return b'%s:{"state":{"events":[]},"timeline":{"events":[%s],"limited":false,"prev_batch":"%s"},%s}' % (
        orjson.dumps(farewell.room_id),
        farewell.event.encode(),
        format_place(until).encode(),
        b'"account_data":{"events":[]}',
    )


def render_data(type: str, content: bytes) -> bytes:
    """One event of account data."""
    return b'{"type":%s,"content":%s}' % (orjson.dumps(type), content)


def render_events(events: list[bytes]) -> bytes:
    return b'{"events":[%b]}' % b",".join(events)
