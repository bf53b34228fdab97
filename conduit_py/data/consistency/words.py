"""The index of words: ``kvschema.catalog.search``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.consistency.derived import compare_tree
from conduit_py.data.consistency.events import read_fields
from conduit_py.data.search import get_event_at
from conduit_py.data.timeline import get_row
from conduit_py.matrix.search_words import count_words
from conduit_py.storage.database import Snapshot
from kvschema.catalog import search, timeline
from kvschema.catalog.search import RoomWordPos
from kvschema.catalog.timeline import OUTLIER, REJECTED, SOFT_FAILED, EventRow

_HIDDEN = REJECTED | SOFT_FAILED | OUTLIER


def check_words(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: RoomWordPos, _: None) -> bool:
        event = get_event_at(snapshot, key.room, key.pos)
        row = None if event is None else get_row(snapshot, event)
        return row is not None and key.word in _words_of(row)

    expected = (
        (RoomWordPos(row.room, word, row.pos), None)
        for _, row in timeline.SHORTEVENTID_PDU.scan(snapshot)
        for word in _words_of(row)
    )
    return compare_tree(snapshot, search.TOKENIDS, expected, follows)


def _words_of(row: EventRow) -> set[str]:
    """None of an event that nobody is shown, or that was redacted."""
    if not row.pos or row.flags & _HIDDEN or row.redacted_by:
        return set()
    fields = read_fields(row)
    content = fields.get("content")
    return set(count_words(fields["type"], content)) if isinstance(content, dict) else set()
