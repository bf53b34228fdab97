"""The words that lead to events.

A row takes about 40 bytes on disk with what the tree needs around it, and a message has ten distinct words or so: the
index is about half as large again as the messages themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import search, timeline
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.search import RoomWordPos
from kvschema.catalog.timeline import PduId


def stage_words(turn: Turn, room: ShortRoomId, pos: int, words: Iterable[str]) -> None:
    """Let words lead to the event at a place."""
    for word in words:
        turn.batch.put(search.TOKENIDS, RoomWordPos(room, word, pos), None)


def stage_words_removed(turn: Turn, room: ShortRoomId, pos: int, words: Iterable[str]) -> None:
    """The event was redacted: it has no words any more."""
    for word in words:
        turn.batch.delete(search.TOKENIDS, RoomWordPos(room, word, pos))


def scan_word(snapshot: Snapshot, room: ShortRoomId, word: str, *, before: int | None = None) -> Iterator[int]:
    """Places of the events with a word, the newest first, below ``before``."""
    start = None if before is None else RoomWordPos(room, word, before)
    for key in search.TOKENIDS.scan_keys(snapshot, room, word, after=start, reverse=True):
        yield key.pos


def has_words(snapshot: Snapshot, room: ShortRoomId, pos: int, words: Iterable[str]) -> bool:
    """Do all of the words lead to the event at a place?"""
    return all(search.TOKENIDS.has(snapshot, RoomWordPos(room, word, pos)) for word in words)


def get_event_at(snapshot: Snapshot, room: ShortRoomId, pos: int) -> ShortEventId | None:
    """The event at a place of the timeline."""
    event = timeline.PDUID_SHORTEVENTID.get(snapshot, PduId(room, pos))
    return None if event is None else ShortEventId(event)
