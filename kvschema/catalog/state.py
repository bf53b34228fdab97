"""Room state, now and at every event."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.catalog.rooms import ByRoom, ShortRoomId, ShortStateKey, StateId
from kvschema.catalog.timeline import PduId
from kvschema.codec import COUNT, I64, RAW, U64, Key
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
ROOMPOS_STATEID: Tree[PduId, int] = Tree(
    "roompos_stateid",
    Key(PduId, (U64(), I64())),
    COUNT,
    since=1,
    doc="A room's state from a place on, where it is not the state after the event that stands there.",
    bound="at most one row per event that left the room with more than one end; goes with its room",
)

TREES = (ROOMID_STATEID, ROOMSTATE_SHORTEVENTID, STATEID_STATEDIFF, ROOMPOS_STATEID)
