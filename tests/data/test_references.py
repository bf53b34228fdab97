"""What an event of the store refers to, read for the checks of consistency without the rest of it."""

from __future__ import annotations

import pytest

from conduit_py.data.consistency.events import read_references
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, StateId
from kvschema.catalog.timeline import EventRow


def make_row(prev_events: bytes) -> EventRow:
    federation = b'"depth":1,"prev_events":' + prev_events
    return EventRow(0, ShortRoomId(1), 1, StateId(0), ShortEventId(0), ShortEventId(0), "$id", b"", federation)


@pytest.mark.parametrize(
    ("version", "prev_events", "expected"),
    [
        ("11", b"[]", ()),
        ("11", b'["$a","$b"]', ("$a", "$b")),
        ("1", b'[["$a:one.test",{"sha256":"x"}]]', ("$a:one.test",)),
        ("11", b'["a"]', None),
        ("11", b"[1]", None),
        ("11", b'[["$","a"]]', None),
        ("11", b'["$%b"]' % (b"a" * 255), None),
        ("11", b"null", None),
        ("11", b"", None),
        ("1", b'["$a"]', None),
        ("1", b"[[]]", None),
        ("1", b"[{}]", None),
    ],
)
def test_references_are_read_or_there_are_none(
    version: str, prev_events: bytes, expected: tuple[str, ...] | None
) -> None:
    row = make_row(prev_events)
    assert read_references(row, "prev_events", ROOM_VERSIONS[version]) == expected
    assert read_references(row, "auth_events", ROOM_VERSIONS[version]) is None
