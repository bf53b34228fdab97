"""What is bundled with an event of the events that relate to it: its latest edit, its thread, references to it.

Asked for every event that is served, and nearly always there is nothing: one look-up of a microsecond tells. What there
is takes the same few look-ups however many children an event has, except that references are listed and children that
the reader may not see are passed over, up to a limit.

State events get nothing, and annotations are not bundled.

Spec: client-server-api/#aggregations-of-child-events
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, islice
from operator import itemgetter

import orjson

from conduit_py.data import relations, row_fields, short_ids, timeline
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.matrix.relations import check_replacement, parse_parent
from conduit_py.service.rooms.client_events import ClientEvents
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.storage.database import Snapshot
from kvschema.catalog.relations import REFERENCE, THREAD, Relation
from kvschema.catalog.rooms import ShortEventId, ShortUserId
from kvschema.catalog.timeline import STATE, EventRow

REFERENCES_MAX = 1000
"""References that are listed: the newest ones."""
PASSED_OVER_MAX = 1000
"""Children that are looked at in search of one that the reader may see, or counted one by one."""
EDITS_MAX = 100
"""Edits that are looked at in search of a valid one."""

_RELATES_TO = b'"m.relates_to":'


def bundle_relations(events: ClientEvents, event: ShortEventId, row: EventRow, room_id: RoomId | None) -> bytes:
    """``m.relations`` of an event as a JSON object, empty for none. ``room_id`` is as in ``ClientEvents.render``."""
    if row.flags & STATE or not relations.has_bundled(events.snapshot, row.room, row.event_id):
        return b""
    bundle = _Bundle(events, row, room_id)
    parts = (
        (b'"m.replace":', bundle.replacement()),
        (b'"m.thread":', bundle.thread()),
        (b'"m.reference":', bundle.references()),
    )
    told = [name + json for name, json in parts if json]
    return b"{" + b",".join(told) + b"}" if told else b""


class _Bundle:
    """The aggregations of one event for one reader."""

    def __init__(self, events: ClientEvents, row: EventRow, room_id: RoomId | None) -> None:
        self._events = events
        self._snapshot = events.snapshot
        self._row = row
        self._room_id = room_id
        self._ignored = get_ignored_shorts(events.snapshot, events.requester.user)

    def replacement(self) -> bytes:
        """The most recent valid edit. A redacted event has none, and neither has one of an ignored user.

        Spec: client-server-api/#server-side-aggregation-of-mreplace-relationships
        """
        row, sender = self._row, row_fields.get_sender(self._row)
        user = None if row.redacted_by else short_ids.get_user(self._snapshot, UserId(sender))
        if user is None or user in self._ignored:
            return b""
        type_ = row_fields.get_type(row)
        edits = relations.scan_edits(self._snapshot, row.room, row.event_id, sender=user, type=type_)
        for event, edit in islice(self._by_recency(edits), EDITS_MAX):
            if self._is_valid(edit) and self._events.visibility.may_see(edit):
                return self._events.render_bundled(event, edit, room_id=self._room_id)
        return b""

    def _by_recency(self, edits: Iterator[tuple[int, ShortEventId]]) -> Iterator[tuple[ShortEventId, EventRow]]:
        """Of edits with the same time, the one with the largest event id is the most recent."""
        for _, together in groupby(edits, key=itemgetter(0)):
            rows = [(event, timeline.require_row(self._snapshot, event)) for _, event in islice(together, EDITS_MAX)]
            yield from sorted(rows, key=lambda found: found[1].event_id, reverse=True)

    def _is_valid(self, edit: EventRow) -> bool:
        # Both are in this room, because relations are kept by room.
        original, replacement = (timeline.client_fields(row) for row in (self._row, edit))
        return check_replacement(original, replacement) is None

    def thread(self) -> bytes:
        """Spec: client-server-api/#server-side-aggregation-of-mthread-relationships"""
        row, snapshot = self._row, self._snapshot
        latest = self.latest_of_thread()
        if latest is None:
            return b""
        if self._sees_all_of_thread():
            count = relations.get_thread_count(snapshot, row.room, row.event_id)
            for user in self._ignored:
                count -= relations.get_thread_count(snapshot, row.room, row.event_id, user)
        else:
            count = sum(1 for _ in self._scan_visible(THREAD, reverse=False))
        return b'{"latest_event":%s,"count":%d,"current_user_participated":%s}' % (
            self._events.render_bundled(*latest, room_id=self._room_id, get_relations=bundle_relations),
            count,
            b"true" if has_participated(snapshot, self._events.requester.user, row) else b"false",
        )

    def latest_of_thread(self) -> tuple[ShortEventId, EventRow] | None:
        """The latest event of the thread that the reader is shown, None where there is no thread."""
        if not relations.get_thread_count(self._snapshot, self._row.room, self._row.event_id):
            return None
        return next(self._scan_visible(THREAD, reverse=True), None) if may_be_thread_root(self._row) else None

    def _sees_all_of_thread(self) -> bool:
        """Does the reader see the first and the last event? What may be seen mostly is in one piece."""
        for reverse in (False, True):
            children = relations.scan_children(
                self._snapshot, self._row.room, self._row.event_id, kinds=(THREAD,), reverse=reverse
            )
            _, end = next(children)
            if not self._events.visibility.may_see(timeline.require_row(self._snapshot, end.event)):
                return False
        return True

    def references(self) -> bytes:
        """Spec: client-server-api/#server-side-aggregation-of-mreference"""
        newest = islice(self._scan_visible(REFERENCE, reverse=True), REFERENCES_MAX)
        chunk = [{"event_id": row.event_id} for _, row in newest]
        return orjson.dumps({"chunk": chunk[::-1]}) if chunk else b""

    def _scan_visible(self, kind: int, *, reverse: bool) -> Iterator[tuple[ShortEventId, EventRow]]:
        """Children of one kind that the reader may see and whose senders are not ignored."""
        row = self._row
        children = relations.scan_children(self._snapshot, row.room, row.event_id, kinds=(kind,), reverse=reverse)
        for _, child in islice(children, PASSED_OVER_MAX):
            found = self._get_visible(child)
            if found is not None:
                yield child.event, found

    def _get_visible(self, child: Relation) -> EventRow | None:
        if child.sender in self._ignored:
            return None
        row = timeline.require_row(self._snapshot, child.event)
        return row if self._events.visibility.may_see(row) else None


def has_visible_thread(events: ClientEvents, root: EventRow) -> bool:
    """Is there a thread that starts from the event, and may the reader see something of it?"""
    return _Bundle(events, root, None).latest_of_thread() is not None


def may_be_thread_root(row: EventRow) -> bool:
    """No thread starts from an event that relates to another.

    Spec: client-server-api/#validation-of-mthread-relationships
    """
    return _RELATES_TO not in row.client or parse_parent(timeline.client_fields(row)["content"]) is None


def has_participated(snapshot: Snapshot, user: ShortUserId, root: EventRow) -> bool:
    """Did the user send the thread's root or an event of the thread?

    Spec: client-server-api/#server-side-aggregation-of-mthread-relationships
    """
    is_sender = row_fields.get_sender(root) == short_ids.get_user_id(snapshot, user)
    return is_sender or relations.get_thread_count(snapshot, root.room, root.event_id, user) > 0


def get_ignored_shorts(snapshot: Snapshot, user: ShortUserId) -> frozenset[ShortUserId]:
    """Whom a user ignores, of those that this server has heard of. Nobody ignores themselves."""
    ignored = get_ignored_users(snapshot, user)
    if not ignored:
        return frozenset()
    shorts = (short_ids.get_user(snapshot, UserId(user_id)) for user_id in ignored)
    return frozenset(short for short in shorts if short is not None and short != user)
