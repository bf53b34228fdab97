"""Relations between events, and the threads they make: ``kvschema.catalog.relations``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from conduit_py.data.consistency.derived import compare_rows, compare_tree, scan_owners
from conduit_py.data.consistency.events import read_fields
from conduit_py.data.relations import BUNDLED, Child, build_child
from conduit_py.data.short_ids import get_user
from conduit_py.data.timeline import get_row
from conduit_py.matrix.ids import UserId
from conduit_py.storage.database import Snapshot
from kvschema.catalog import relations, timeline
from kvschema.catalog.relations import EVERYBODY, ByParent, ChildPlace, LikeChild, ThreadPlace, ThreadUser
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.timeline import OUTLIER, REJECTED, SOFT_FAILED, EventRow

_HIDDEN = REJECTED | SOFT_FAILED | OUTLIER


def check_relations(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: ChildPlace, row: relations.Relation) -> bool:
        child = _get_child(snapshot, row.event)
        return child is not None and child.row() == (key, row)

    expected = (child.row() for child in _scan_children(snapshot))
    return compare_tree(snapshot, relations.TOFROM_RELATION, expected, follows)


def check_alike(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: LikeChild, _: None) -> bool:
        child = _get_child(snapshot, key.event)
        return child is not None and child.like_key() == key

    expected = ((like, None) for child in _scan_children(snapshot) if (like := child.like_key()) is not None)
    return compare_tree(snapshot, relations.LIKECHILD, expected, follows)


def check_bundled(snapshot: Snapshot) -> Iterator[str]:
    """Every parent has as many bundled children as are counted."""
    counted = (
        (ByParent(*parent), sum(1 for key in keys if key.kind in BUNDLED))
        for parent, keys in groupby(relations.TOFROM_RELATION.scan_keys(snapshot), key=lambda key: key[:2])
    )

    def follows(key: ByParent, _: int) -> bool:
        return any(child.kind in BUNDLED for child in relations.TOFROM_RELATION.scan_keys(snapshot, *key))

    return compare_tree(snapshot, relations.PARENT_BUNDLED, (row for row in counted if row[1]), follows)


def check_thread_counts(snapshot: Snapshot) -> Iterator[str]:
    """Every thread has as many events, and as many of each sender, as are counted."""
    for room in _scan_rooms(snapshot):
        expected: Counter[ThreadUser] = Counter()
        for root, _, row in _scan_thread_events(snapshot, room):
            expected.update((ThreadUser(room, root, EVERYBODY), ThreadUser(room, root, row.sender)))
        stored = dict(relations.THREADUSER_COUNT.scan(snapshot, room))
        yield from compare_rows(relations.THREADUSER_COUNT, stored, expected)


def check_threads(snapshot: Snapshot) -> Iterator[str]:
    """Every thread stands where its latest event does."""
    for room in _scan_rooms(snapshot):
        latest = {root: pos for root, pos, _ in _scan_thread_events(snapshot, room)}
        expected = {ThreadPlace(room, pos): root for root, pos in latest.items()}
        yield from compare_rows(relations.THREADACTIVITY, dict(relations.THREADACTIVITY.scan(snapshot, room)), expected)


def _scan_rooms(snapshot: Snapshot) -> list[ShortRoomId]:
    trees = (relations.TOFROM_RELATION, relations.THREADUSER_COUNT, relations.THREADACTIVITY)
    return sorted({ShortRoomId(room) for tree in trees for room in scan_owners(snapshot, tree)})


def _scan_thread_events(snapshot: Snapshot, room: ShortRoomId) -> Iterator[tuple[str, int, relations.Relation]]:
    """(root, place, relation), thread by thread in timeline order."""
    for key, row in relations.TOFROM_RELATION.scan(snapshot, room):
        if key.kind == relations.THREAD:
            yield key.parent, key.pos, row


def _scan_children(snapshot: Snapshot) -> Iterator[Child]:
    for key, row in timeline.SHORTEVENTID_PDU.scan(snapshot):
        child = _build_child(snapshot, key.event, row)
        if child is not None:
            yield child


def _get_child(snapshot: Snapshot, event: ShortEventId) -> Child | None:
    row = get_row(snapshot, event)
    return None if row is None else _build_child(snapshot, event, row)


def _build_child(snapshot: Snapshot, event: ShortEventId, row: EventRow) -> Child | None:
    """An event of a timeline that was not redacted and that states a relation."""
    if not row.pos or row.flags & _HIDDEN or row.redacted_by or b'"m.relates_to"' not in row.client:
        return None
    fields = read_fields(row)
    sender = get_user(snapshot, UserId(fields["sender"])) if "sender" in fields else None
    if sender is None:
        return None
    return build_child(
        room=row.room,
        event=event,
        pos=row.pos,
        sender=sender,
        type=fields["type"],
        ts_ms=fields["origin_server_ts"],
        content=fields["content"],
    )
