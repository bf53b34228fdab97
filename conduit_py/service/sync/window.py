"""The end of a room's timeline that a reply shows.

A window is contiguous: read backwards it ends where the reader may see no further, so every event between its start and
the token is either shown or was left out by the reader's own filter. State events that were left out are kept apart,
because they changed the room all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conduit_py.data import gaps, row_fields, timeline
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.timeline import STATE, EventRow

SCANNED_MAX = 1000
"""Events looked at for one window: a filter that hardly ever matches must not read a whole room."""

Event = tuple[ShortEventId, EventRow]


@dataclass(frozen=True, slots=True)
class Window:
    """Oldest event first."""

    events: list[Event]
    left_out: list[Event]
    """State events within the window that the filter left out."""
    first: Event | None
    """The oldest event within, shown or not."""
    start: int
    """The place right before the window."""
    is_limited: bool
    """Something lies between the window and where it was to reach, held or not."""


def read_window(
    snapshot: Snapshot,
    room: ShortRoomId,
    visibility: Visibility,
    *,
    after: int | None,
    until: int,
    limit: int,
    wants: Callable[[EventRow], bool],
    always: ShortEventId | None = None,
) -> Window:
    """At most ``limit`` events past ``after`` (all there are for None) up to ``until``, and those nearest to ``until``.

    ``always`` names an event that the reader is shown whatever the room's history visibility says.
    """
    events: list[Event] = []
    left_out: list[Event] = []
    first: Event | None = None
    start, is_limited, scanned = until, False, 0
    stop = None if after is None else after + 1
    holes = set(gaps.scan_places(snapshot, room, after=after, until=until))
    for pos, event in timeline.scan_timeline(snapshot, room, after=until + 1, until=stop, reverse=True):
        facts = row_fields.get_facts(snapshot, event)
        row = facts.row
        if facts.is_hidden:
            continue
        is_full = len(events) >= limit or scanned >= SCANNED_MAX
        if is_full or not (event == always or visibility.may_see(row)):
            is_limited = True
            break
        scanned += 1
        start, first = pos - 1, (event, row)
        if wants(row):
            events.append(first)
        elif row.flags & STATE:
            left_out.append(first)
        if pos in holes:
            is_limited = True
            break
    events.reverse()
    left_out.reverse()
    return Window(events, left_out, first, start, is_limited)
