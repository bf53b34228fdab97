"""Which events relate to which, and the threads that follow from it.

A relation is kept under the event id that the child names as its parent, in the child's room. So a parent that comes
after its children, or was never seen, needs nothing done, and a parent in another room is never found.
"""

from __future__ import annotations

from typing import NamedTuple

from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId
from kvschema.codec import COUNT, I64, NOTHING, TEXT, U8, U64, Fixed, Key, Text, record
from kvschema.tree import Tree

OTHER, REPLACE, ANNOTATION, THREAD, REFERENCE = 0, 1, 2, 3, 4
"""Kinds of relation. OTHER is any ``rel_type`` that the spec does not know."""

EVERYBODY = ShortUserId(0)
"""Stands in the user's place for all senders together."""


class ByParent(NamedTuple):
    room: ShortRoomId
    parent: str


class ChildPlace(NamedTuple):
    """Children of one kind sort in timeline order."""

    room: ShortRoomId
    parent: str
    """The event id that the child names."""
    kind: int
    pos: int
    """The child's place in the timeline."""


class Relation(NamedTuple):
    event: ShortEventId
    sender: ShortUserId
    type: str
    """The child's event type."""
    rel_type: str = ""
    """Of the kind OTHER; empty where the kind says it."""


class LikeChild(NamedTuple):
    """Children that compete for one place sort next to each other, the most recent last."""

    room: ShortRoomId
    parent: str
    digest: bytes
    """BLAKE2b-16 of what is alike: ``m.replace``, sender and type, or ``m.annotation``, sender, type and key."""
    ts_ms: int
    """``origin_server_ts``."""
    event: ShortEventId


class ThreadUser(NamedTuple):
    room: ShortRoomId
    root: str
    user: ShortUserId
    """EVERYBODY for the whole thread."""


class ThreadPlace(NamedTuple):
    """Threads of a room by their latest event."""

    room: ShortRoomId
    pos: int


_EVENTS = "shorteventid_pdu"

TOFROM_RELATION: Tree[ChildPlace, Relation] = Tree(
    "tofrom_relation",
    Key(ChildPlace, (U64(), Text(), U8(), I64())),
    record(Relation),
    since=1,
    doc="The children of an event, whether we have that event or not.",
    bound="at most one row per event in a timeline; goes with its redaction and with its room",
    derived=_EVENTS,
)
PARENT_BUNDLED: Tree[ByParent, int] = Tree(
    "parent_bundledcount",
    Key(ByParent, (U64(), Text())),
    COUNT,
    since=1,
    doc="How many edits, thread events and references an event has: no row says that nothing is bundled with it.",
    bound="at most one row per row of tofrom_relation",
    derived="tofrom_relation",
)
LIKECHILD: Tree[LikeChild, None] = Tree(
    "parentlike_relation",
    Key(LikeChild, (U64(), Text(), Fixed(16), I64(), U64())),
    NOTHING,
    since=1,
    doc="Edits of an event by one sender, and annotations of one sender that say the same.",
    bound="at most one row per row of tofrom_relation",
    derived=_EVENTS,
)
THREADUSER_COUNT: Tree[ThreadUser, int] = Tree(
    "threaduser_count",
    Key(ThreadUser, (U64(), Text(), U64())),
    COUNT,
    since=1,
    doc="How many events each sender has in a thread, and how many there are. Conduit's threadid_userids.",
    bound="two rows per row of tofrom_relation at most",
    derived="tofrom_relation",
)
THREADACTIVITY: Tree[ThreadPlace, str] = Tree(
    "threadactivity_root",
    Key(ThreadPlace, (U64(), I64())),
    TEXT,
    since=1,
    doc="The threads of a room by their latest event: event ids of their roots.",
    bound="one row per thread; goes with its last event",
    derived="tofrom_relation",
)
TREES = (TOFROM_RELATION, PARENT_BUNDLED, LIKECHILD, THREADUSER_COUNT, THREADACTIVITY)
