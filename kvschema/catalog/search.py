"""The index of words."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.catalog.rooms import ShortRoomId
from kvschema.codec import I64, NOTHING, U64, Key, Text
from kvschema.tree import Tree


class RoomWordPos(NamedTuple):
    """One word of one event of a timeline, both by their room."""

    room: ShortRoomId
    word: str
    """In lower case."""
    pos: int
    """Place of the event."""


TOKENIDS: Tree[RoomWordPos, None] = Tree(
    "tokenids",
    Key(RoomWordPos, (U64(), Text(50), I64())),
    NOTHING,
    since=1,
    doc="Which events of a room hold a word, in timeline order.",
    bound="one row of about 25 bytes per distinct word, at most 200 of an event; goes when it is redacted",
    derived="shorteventid_pdu",
)

TREES = (TOKENIDS,)
