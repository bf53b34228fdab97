"""Rooms, their short ids, aliases and the directory."""

from __future__ import annotations

from typing import NamedTuple, NewType

from kvschema.codec import COUNT, NOTHING, TEXT, U64, Fixed, Key, Text, record
from kvschema.tree import Tree

ShortRoomId = NewType("ShortRoomId", int)
ShortUserId = NewType("ShortUserId", int)
ShortEventId = NewType("ShortEventId", int)
ShortStateKey = NewType("ShortStateKey", int)
StateId = NewType("StateId", int)
"""Names one whole room state (Conduit's short state hash). 0 is the empty state."""
StreamPos = NewType("StreamPos", int)
"""A position in the one stream of everything that /sync may show. Microseconds since 1970 when handed out or later."""


class ByRoomId(NamedTuple):
    room_id: str


class ByRoom(NamedTuple):
    room: ShortRoomId


class ByShort(NamedTuple):
    short: int


class ByUserId(NamedTuple):
    user_id: str


class ByAlias(NamedTuple):
    alias: str


class ByRoomAlias(NamedTuple):
    room: ShortRoomId
    alias: str


class ByRoomEvent(NamedTuple):
    room: ShortRoomId
    event: ShortEventId


class ByStateKeyDigest(NamedTuple):
    """BLAKE2b-16 of type and state key: together they may exceed the key limit."""

    digest: bytes


class RoomRecord(NamedTuple):
    """What never changes about a room."""

    room_id: str
    room_version: str


class StateKeyRecord(NamedTuple):
    type: str
    state_key: str


class AliasRecord(NamedTuple):
    room_id: str
    creator: str


class DisabledRoom(NamedTuple):
    disabled_ms: int


class RemovedRoom(NamedTuple):
    """How far the removal of a room has got."""

    room: ShortRoomId
    began_ms: int
    is_cut_off: bool = False
    """Nobody is in it any more, and nothing leads to what is left of it."""


ROOMID_SHORTROOMID: Tree[ByRoomId, int] = Tree(
    "roomid_shortroomid",
    Key(ByRoomId, (Text(),)),
    COUNT,
    since=1,
    doc="The short id of a room.",
    bound="one row per room the server has taken part in",
)
SHORTROOMID_ROOM: Tree[ByRoom, RoomRecord] = Tree(
    "shortroomid_room",
    Key(ByRoom, (U64(),)),
    record(RoomRecord),
    since=1,
    doc="Room id and version behind a short id.",
    bound="one row per room the server has taken part in",
)
USERID_SHORTUSERID: Tree[ByUserId, int] = Tree(
    "userid_shortuserid",
    Key(ByUserId, (Text(),)),
    COUNT,
    since=1,
    doc="The short id of a user, local or remote.",
    bound="one row per user that is a member of, or invited to, a room we hold, or has an account here",
)
SHORTUSERID_USERID: Tree[ByShort, str] = Tree(
    "shortuserid_userid",
    Key(ByShort, (U64(),)),
    TEXT,
    since=1,
    doc="User id behind a short id.",
    bound="as userid_shortuserid",
    derived="userid_shortuserid",
)
STATEKEY_SHORTSTATEKEY: Tree[ByStateKeyDigest, int] = Tree(
    "statekey_shortstatekey",
    Key(ByStateKeyDigest, (Fixed(16),)),
    COUNT,
    since=1,
    doc="The short id of an event type and state key.",
    bound="one row per distinct (type, state_key) in the rooms we hold",
)
SHORTSTATEKEY_STATEKEY: Tree[ByShort, StateKeyRecord] = Tree(
    "shortstatekey_statekey",
    Key(ByShort, (U64(),)),
    record(StateKeyRecord),
    since=1,
    doc="Event type and state key behind a short id.",
    bound="as statekey_shortstatekey",
)
ROOMID_PDULEAVES: Tree[ByRoomEvent, None] = Tree(
    "roomid_pduleaves",
    Key(ByRoomEvent, (U64(), U64())),
    NOTHING,
    since=1,
    doc="Forward extremities of a room.",
    bound="EXTREMITIES_MAX per room; every accepted event removes the ones it refers to",
)
ALIAS_ROOMID: Tree[ByAlias, AliasRecord] = Tree(
    "alias_roomid",
    Key(ByAlias, (Text(),)),
    record(AliasRecord),
    since=1,
    doc="A local alias: the room it names and who made it.",
    bound="made and deleted by users; at most ALIASES_PER_ROOM_MAX for each room",
)
ROOMID_ALIAS: Tree[ByRoomAlias, None] = Tree(
    "aliasid_alias",
    Key(ByRoomAlias, (U64(), Text())),
    NOTHING,
    since=1,
    doc="The local aliases of a room.",
    bound="as alias_roomid",
    derived="alias_roomid",
)
PUBLICROOMIDS: Tree[ByRoom, None] = Tree(
    "publicroomids",
    Key(ByRoom, (U64(),)),
    NOTHING,
    since=1,
    doc="Rooms listed in the public directory.",
    bound="at most one row per room",
)
DISABLEDROOMIDS: Tree[ByRoomId, DisabledRoom] = Tree(
    "disabledroomids",
    Key(ByRoomId, (Text(),)),
    record(DisabledRoom),
    since=1,
    doc="Rooms that this server has no more part in, whether it holds them or not.",
    bound="one row for each room that an administrator disables",
)
REMOVEDROOMIDS: Tree[ByRoomId, RemovedRoom] = Tree(
    "removedroomids",
    Key(ByRoomId, (Text(),)),
    record(RemovedRoom),
    since=1,
    doc="Rooms that are being removed.",
    bound="one row for each room that an administrator removes; goes with the last row of the room",
)

TREES = (
    ROOMID_SHORTROOMID,
    SHORTROOMID_ROOM,
    USERID_SHORTUSERID,
    SHORTUSERID_USERID,
    STATEKEY_SHORTSTATEKEY,
    SHORTSTATEKEY_STATEKEY,
    ROOMID_PDULEAVES,
    ALIAS_ROOMID,
    ROOMID_ALIAS,
    PUBLICROOMIDS,
    DISABLEDROOMIDS,
    REMOVEDROOMIDS,
)
