"""Room state, now and at every event."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.catalog.rooms import ByRoom, ShortRoomId, ShortStateKey, StateId
from kvschema.codec import COUNT, RAW, U64, Key
from kvschema.tree import Tree


class ByState(NamedTuple):
    state: StateId


class RoomStateKey(NamedTuple):
    room: ShortRoomId
    state_key: ShortStateKey


ROOMID_STATEID: Tree[ByRoom, int] = Tree(
    "roomid_shortstatehash",
    Key(ByRoom, (U64(),)),
    COUNT,
    since=1,
    doc="The current state of a room, as the name of a state.",
    bound="one row per room",
)
ROOMSTATE_SHORTEVENTID: Tree[RoomStateKey, int] = Tree(
    "roomstate_shorteventid",
    Key(RoomStateKey, (U64(), U64())),
    COUNT,
    since=1,
    doc="The current state of a room, entry by entry.",
    bound="one row per entry of current state; goes with its room",
    derived="roomid_shortstatehash, shortstatehash_statediff",
)
STATEID_STATEDIFF: Tree[ByState, bytes] = Tree(
    "shortstatehash_statediff",
    Key(ByState, (U64(),)),
    RAW,
    since=1,
    doc="One state as its difference from an earlier one: see conduit_py.data.state.",
    bound="one row per change of state, about log2(changes) entries of 16 bytes each; goes with its room",
    append=True,
)

TREES = (ROOMID_STATEID, ROOMSTATE_SHORTEVENTID, STATEID_STATEDIFF)
