"""Holes in timelines: events that are known to be there, and are not held.

A gap lies right before an event. Its places are left free for what is fetched later: below zero at the beginning of a
room, and in the middle of a timeline those that were skipped (``Turn.skip_pos``) before the event took its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import timeline
from kvschema.catalog.rooms import ShortRoomId
from kvschema.catalog.timeline import Gap, PduId

GAP_PLACES = 50_000
"""Places in the middle of a timeline that one hole gets."""
MISSING_MAX = 64
"""Missing events that are remembered of one hole: what only others refer to is never fetched."""
FIRST_PLACE = -1
LAST_PLACE = -(1 << 62)
"""Places before the first event that we have of a room."""


def scan_gaps(
    snapshot: Snapshot, room: ShortRoomId, *, after: int | None = None, until: int | None = None, reverse: bool = False
) -> Iterator[tuple[int, Gap]]:
    """(place of the event behind it, gap) of a room, strictly past ``after`` and up to ``until`` as the scan goes."""
    start = None if after is None else PduId(room, after)
    stop = None if until is None else PduId(room, until)
    for key, gap in timeline.ROOMID_GAP.scan(snapshot, room, after=start, until=stop, reverse=reverse):
        yield key.pos, gap


def scan_places(snapshot: Snapshot, room: ShortRoomId, *, after: int | None, until: int | None) -> Iterator[int]:
    """Places of the events behind gaps. Whole timelines are the rule, and everybody in the room asks for an event."""
    if snapshot.once(("hasgap", room), lambda: any(True for _ in scan_gaps(snapshot, room))):
        for pos, _ in scan_gaps(snapshot, room, after=after, until=until):
            yield pos


def get_gap(snapshot: Snapshot, room: ShortRoomId, pos: int) -> Gap | None:
    """What is missing right before the event at a place."""
    return timeline.ROOMID_GAP.get(snapshot, PduId(room, pos))


def build_gap(next_pos: int, last_pos: int, missing: Iterable[str]) -> Gap:
    return Gap(next_pos, last_pos, list(missing)[:MISSING_MAX])


def stage_gap(turn: Turn, room: ShortRoomId, pos: int, gap: Gap) -> None:
    turn.batch.put(timeline.ROOMID_GAP, PduId(room, pos), gap)


def stage_gap_removed(turn: Turn, room: ShortRoomId, pos: int) -> None:
    turn.batch.delete(timeline.ROOMID_GAP, PduId(room, pos))
