"""Which events relate to which: the children of an event, its edits, and the threads of a room.

All of it follows from the events of the timelines: ``RelationWrites`` stages it with the event, and takes it back when
the event is redacted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from typing import Any

from conduit_py.data.digest import digest
from conduit_py.data.timeline import get_event
from conduit_py.matrix.ids import ID_BYTES_MAX, EventId
from conduit_py.matrix.relations import ANNOTATION, REFERENCE, REPLACE, THREAD, Relation, parse_relation
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import relations
from kvschema.catalog.relations import EVERYBODY, ByParent, ChildPlace, LikeChild, ThreadPlace, ThreadUser
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId

KIND_OF: Mapping[str, int] = {
    REPLACE: relations.REPLACE,
    ANNOTATION: relations.ANNOTATION,
    THREAD: relations.THREAD,
    REFERENCE: relations.REFERENCE,
}
KINDS = (relations.OTHER, *KIND_OF.values())
BUNDLED = (relations.REPLACE, relations.THREAD, relations.REFERENCE)
"""Kinds that take part in bundled aggregations. Annotations do not."""

_TS_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """An event of a timeline that relates to another event."""

    room: ShortRoomId
    event: ShortEventId
    pos: int
    sender: ShortUserId
    type: str
    ts_ms: int
    rel_type: str
    parent: EventId
    key: str | None
    """What an annotation says."""

    @property
    def kind(self) -> int:
        return KIND_OF.get(self.rel_type, relations.OTHER)

    @property
    def is_bundled(self) -> bool:
        return self.kind in BUNDLED

    def row(self) -> tuple[ChildPlace, relations.Relation]:
        rel_type = self.rel_type if self.kind == relations.OTHER else ""
        row = relations.Relation(self.event, self.sender, self.type, rel_type)
        return ChildPlace(self.room, self.parent, self.kind, self.pos), row

    def like_key(self) -> LikeChild | None:
        """None for a child that competes with no other."""
        if self.kind == relations.REPLACE:
            alike = _edit_digest(self.sender, self.type)
        elif self.kind == relations.ANNOTATION and self.key is not None:
            alike = _annotation_digest(self.sender, self.type, self.key)
        else:
            return None
        return LikeChild(self.room, self.parent, alike, min(max(self.ts_ms, -_TS_MAX), _TS_MAX), self.event)


def parse_stored_relation(content: Any) -> tuple[str, EventId, Relation] | None:
    """``(rel_type, parent, relation)`` of an event's content; None where it has none, or names no possible event."""
    relation = parse_relation(content)
    if relation is None or relation.rel_type is None or relation.event_id is None:
        return None
    parent = relation.event_id
    if len(parent.encode("utf-8", "surrogatepass")) > ID_BYTES_MAX or "\0" in parent:
        return None
    return relation.rel_type, parent, relation


def build_child(
    *,
    room: ShortRoomId,
    event: ShortEventId,
    pos: int,
    sender: ShortUserId,
    type: str,
    ts_ms: int,
    content: Any,
) -> Child | None:
    """None for an event that is nobody's child."""
    parsed = parse_stored_relation(content)
    if parsed is None:
        return None
    rel_type, parent, relation = parsed
    return Child(
        room=room,
        event=event,
        pos=pos,
        sender=sender,
        type=type,
        ts_ms=ts_ms,
        rel_type=rel_type,
        parent=parent,
        key=relation.key,
    )


def _edit_digest(sender: ShortUserId, type: str) -> bytes:
    return digest(REPLACE, str(sender), type)


def _annotation_digest(sender: ShortUserId, type: str, key: str) -> bytes:
    return digest(ANNOTATION, str(sender), type, key)


class RelationWrites:
    """Stages relations in one turn, with what was staged before them on top of the snapshot."""

    def __init__(self, snapshot: Snapshot, turn: Turn) -> None:
        self._snapshot = snapshot
        self._turn = turn
        self._batch = turn.batch
        self._staged: dict[ByParent, set[int]] = {}
        """Places of new events, by thread."""
        self._removed: set[ChildPlace] = set()

    def stage(self, child: Child) -> None:
        """The event has been given its place in the timeline."""
        key, row = child.row()
        self._batch.put(relations.TOFROM_RELATION, key, row)
        like = child.like_key()
        if like is not None:
            self._batch.put(relations.LIKECHILD, like, None)
        self._count(child, 1)
        if child.kind == relations.THREAD:
            thread = ByParent(child.room, child.parent)
            before = self._latest(thread)
            self._staged.setdefault(thread, set()).add(child.pos)
            self._move_thread(thread, before)

    def unstage(self, child: Child) -> None:
        """The event was redacted: it relates to nothing any more.

        Spec: client-server-api/#aggregations-of-child-events
        """
        key, _ = child.row()
        self._batch.delete(relations.TOFROM_RELATION, key)
        like = child.like_key()
        if like is not None:
            self._batch.delete(relations.LIKECHILD, like)
        self._count(child, -1)
        if child.kind == relations.THREAD:
            thread = ByParent(child.room, child.parent)
            before = self._latest(thread)
            self._staged.get(thread, set()).discard(child.pos)
            self._removed.add(key)
            self._move_thread(thread, before)

    def _count(self, child: Child, difference: int) -> None:
        if child.is_bundled:
            self._batch.add(relations.PARENT_BUNDLED, ByParent(child.room, child.parent), difference)
            parent = get_event(self._snapshot, EventId(child.parent))
            if parent is not None:
                self._turn.changes(("facts", parent))
        if child.kind == relations.THREAD:
            for user in (EVERYBODY, child.sender):
                self._batch.add(relations.THREADUSER_COUNT, ThreadUser(child.room, child.parent, user), difference)

    def _latest(self, thread: ByParent) -> int | None:
        """Place of the thread's latest event, None where it has none."""
        stored = relations.TOFROM_RELATION.scan_keys(self._snapshot, *thread, relations.THREAD, reverse=True)
        latest = next((key.pos for key in stored if key not in self._removed), None)
        places = {*self._staged.get(thread, ()), *(() if latest is None else (latest,))}
        return max(places, default=None)

    def _move_thread(self, thread: ByParent, before: int | None) -> None:
        after = self._latest(thread)
        if before == after:
            return
        if before is not None:
            self._batch.delete(relations.THREADACTIVITY, ThreadPlace(thread.room, before))
        if after is not None:
            self._batch.put(relations.THREADACTIVITY, ThreadPlace(thread.room, after), thread.parent)


def has_bundled(snapshot: Snapshot, room: ShortRoomId, event_id: str) -> bool:
    """Is there anything to bundle with an event? Asked for every event that a client is sent."""
    return relations.PARENT_BUNDLED.has(snapshot, ByParent(room, event_id))


def scan_children(
    snapshot: Snapshot,
    room: ShortRoomId,
    parent: str,
    *,
    kinds: Iterable[int] = KINDS,
    after: int | None = None,
    until: int | None = None,
    reverse: bool = False,
) -> Iterator[tuple[int, relations.Relation]]:
    """(place, child) of some kinds in timeline order, strictly past ``after``, up to ``until``."""

    def scan_kind(kind: int) -> Iterator[tuple[int, relations.Relation]]:
        start = None if after is None else ChildPlace(room, parent, kind, after)
        stop = None if until is None else ChildPlace(room, parent, kind, until)
        rows = relations.TOFROM_RELATION.scan(snapshot, room, parent, kind, after=start, until=stop, reverse=reverse)
        return ((key.pos, row) for key, row in rows)

    return merge(*(scan_kind(kind) for kind in kinds), key=lambda child: child[0], reverse=reverse)


def scan_places(
    snapshot: Snapshot, room: ShortRoomId, parent: str, *, after: tuple[int, int] | None = None
) -> Iterator[tuple[int, int, relations.Relation]]:
    """(kind, place, child) of all children, in one pass and in that order; past the kind and place ``after``."""
    start = None if after is None else ChildPlace(room, parent, *after)
    for key, row in relations.TOFROM_RELATION.scan(snapshot, room, parent, after=start):
        yield key.kind, key.pos, row


def scan_edits(
    snapshot: Snapshot, room: ShortRoomId, parent: str, *, sender: ShortUserId, type: str
) -> Iterator[tuple[int, ShortEventId]]:
    """(``origin_server_ts``, event) of the edits of an event by one sender, the most recent first."""
    for key in relations.LIKECHILD.scan_keys(snapshot, room, parent, _edit_digest(sender, type), reverse=True):
        yield key.ts_ms, key.event


def has_annotation(
    snapshot: Snapshot, room: ShortRoomId, parent: str, *, sender: ShortUserId, type: str, key: str
) -> bool:
    """Has the sender annotated the event so already?"""
    alike = relations.LIKECHILD.scan_keys(snapshot, room, parent, _annotation_digest(sender, type, key))
    return next(alike, None) is not None


def get_thread_count(snapshot: Snapshot, room: ShortRoomId, root: str, user: ShortUserId = EVERYBODY) -> int:
    """How many events a thread has, its root aside, or how many of them one user sent."""
    return relations.THREADUSER_COUNT.get(snapshot, ThreadUser(room, root, user)) or 0


def scan_threads(snapshot: Snapshot, room: ShortRoomId, *, after: int | None = None) -> Iterator[tuple[int, EventId]]:
    """(place of the latest event, root) of the threads of a room, the latest first, strictly before ``after``."""
    start = None if after is None else ThreadPlace(room, after)
    for key, root in relations.THREADACTIVITY.scan(snapshot, room, after=start, reverse=True):
        yield key.pos, EventId(root)
