"""Account data, tags and push rules among it, global and by room."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.catalog.members import UserPos
from kvschema.catalog.rooms import ShortRoomId, ShortUserId
from kvschema.codec import COUNT, NOTHING, U8, U64, Fixed, Key, record
from kvschema.tree import Tree

GLOBAL_ROOM = ShortRoomId(0)
"""Stands in the room's place for account data that belongs to no room."""


class UserRoomType(NamedTuple):
    user: ShortUserId
    room: ShortRoomId
    type_digest: bytes
    """BLAKE2b-16 of the event type."""


class AccountData(NamedTuple):
    room: ShortRoomId
    type: str
    content: str
    """JSON text. ``{}`` for data that was deleted."""


OWN_RULES, IGNORES = 1, 2
"""Why a user is not notified as everybody else is: push rules of one's own, or somebody ignored."""


class UserReason(NamedTuple):
    user: ShortUserId
    reason: int


USERPOS_ACCOUNTDATA: Tree[UserPos, AccountData] = Tree(
    "roomuserdataid_accountdata",
    Key(UserPos, (U64(), U64())),
    record(AccountData),
    since=1,
    doc="Account data of a user in stream order.",
    bound="one row per user, room and type: a newer one deletes the older row",
)
USERROOMTYPE_POS: Tree[UserRoomType, int] = Tree(
    "roomusertype_roomuserdataid",
    Key(UserRoomType, (U64(), U64(), Fixed(16))),
    COUNT,
    since=1,
    doc="Where the newest account data of a type stands in the stream.",
    bound="as roomuserdataid_accountdata",
    derived="roomuserdataid_accountdata",
)
USERREASON_APART: Tree[UserReason, None] = Tree(
    "userid_notifiedapart",
    Key(UserReason, (U64(), U8())),
    NOTHING,
    since=1,
    doc="Local users who changed a push rule or ignore somebody: all others are notified by the same rules.",
    bound="at most two rows per local user",
    derived="roomuserdataid_accountdata",
)

TREES = (USERPOS_ACCOUNTDATA, USERROOMTYPE_POS, USERREASON_APART)
