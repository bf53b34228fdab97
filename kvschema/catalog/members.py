"""Who is in which room, kept beside the state so that /sync never scans state."""

from __future__ import annotations

from typing import Any, NamedTuple

from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId, StreamPos
from kvschema.codec import COUNT, U8, U64, Key, Text, record
from kvschema.tree import Tree

JOIN, INVITE, KNOCK, LEAVE, BAN = 1, 2, 3, 4, 5
"""Kinds of membership. LEAVE and BAN rows exist only for local users that were in the room or invited to it."""


class UserRoom(NamedTuple):
    user: ShortUserId
    kind: int
    room: ShortRoomId


class Membership(NamedTuple):
    """One user's standing in one room."""

    pos: StreamPos
    """When it began, as a stream position."""
    event: ShortEventId
    """The membership event, 0 if we do not hold it (an invite to a room we are not in)."""
    stripped_state: list[Any] | None = None
    """invite_state or knock_state as clients get it; None for other kinds."""
    forgotten: bool = False
    """The user asked to forget the room after leaving: it is in no list, and its history is closed to the user."""
    sender: str = ""
    event_id: str = ""
    """Of a membership event that we do not hold, so that ``event`` is 0; empty where we know of none."""


class RoomMember(NamedTuple):
    """Local joined users sort first, so that a send reads them without passing remote ones."""

    room: ShortRoomId
    kind: int
    remote: int
    user: ShortUserId


class UserPos(NamedTuple):
    user: ShortUserId
    pos: StreamPos


class MembershipChange(NamedTuple):
    room: ShortRoomId
    kind: int


class Farewell(NamedTuple):
    """What is told of a room that is not here any more to somebody who was in it."""

    room_id: str
    removed_ms: int
    event: str
    """The event by which the user left, as clients get it in /sync; empty where there was none."""


class RoomServer(NamedTuple):
    room: ShortRoomId
    server_name: str


class ServerRoom(NamedTuple):
    server_name: str
    room: ShortRoomId


class RemoteRoom(NamedTuple):
    user: ShortUserId
    room: ShortRoomId


class RoomKind(NamedTuple):
    room: ShortRoomId
    kind: int


USERROOMID_MEMBERSHIP: Tree[UserRoom, Membership] = Tree(
    "userroomid_membership",
    Key(UserRoom, (U64(), U8(), U64())),
    record(Membership),
    since=1,
    doc="Rooms of a local user by kind. Conduit's userroomid_joined, _invitestate, _knockstate and _leftstate.",
    bound="one row per local user and room; goes with the room or a forgotten leave",
)
ROOMUSERID_MEMBER: Tree[RoomMember, int] = Tree(
    "roomuserid_member",
    Key(RoomMember, (U64(), U8(), U8(), U64())),
    COUNT,
    since=1,
    doc="Joined, invited and knocking members of a room, local ones first; the value is the membership event.",
    bound="one row per member in current state; goes with its room",
    derived="roomstate_shorteventid",
)
ROOMID_MEMBERCOUNT: Tree[RoomKind, int] = Tree(
    "roomid_membercount",
    Key(RoomKind, (U64(), U8())),
    COUNT,
    since=1,
    doc="How many members of each kind a room has. Conduit's roomid_joinedcount and roomid_invitedcount.",
    bound="at most three rows per room",
    derived="roomuserid_member",
)
USERPOS_MEMBERSHIPCHANGE: Tree[UserPos, MembershipChange] = Tree(
    "userpos_membershipchange",
    Key(UserPos, (U64(), U64())),
    record(MembershipChange),
    since=1,
    doc="The latest change of membership of a local user in each room, in stream order.",
    bound="one row per local user and room: a newer change deletes the older row",
    derived="userroomid_membership",
)
ROOMSERVERIDS: Tree[RoomServer, int] = Tree(
    "roomserverids",
    Key(RoomServer, (U64(), Text())),
    COUNT,
    since=1,
    doc="Servers with joined members in a room, and how many.",
    bound="one row per room and server",
    derived="roomuserid_member",
)
SERVERROOMIDS: Tree[ServerRoom, int] = Tree(
    "serverroomids",
    Key(ServerRoom, (Text(), U64())),
    COUNT,
    since=1,
    doc="Rooms a server has joined members in, and how many.",
    bound="as roomserverids",
    derived="roomuserid_member",
)
REMOTE_ROOMS: Tree[RemoteRoom, int] = Tree(
    "userroomid_remotejoined",
    Key(RemoteRoom, (U64(), U64())),
    COUNT,
    since=1,
    doc="Rooms that a user of another server is joined to, and the position at which that began.",
    bound="one row per joined member of another server",
)
USERPOS_FAREWELL: Tree[UserPos, Farewell] = Tree(
    "userpos_farewell",
    Key(UserPos, (U64(), U64())),
    record(Farewell),
    since=1,
    doc="Rooms that were removed, by when a local user left them: what the user's clients are told.",
    bound="one row per local user and room that was removed; swept FAREWELLS_KEPT_MS later",
)

TREES = (
    USERROOMID_MEMBERSHIP,
    ROOMUSERID_MEMBER,
    ROOMID_MEMBERCOUNT,
    USERPOS_MEMBERSHIPCHANGE,
    ROOMSERVERIDS,
    SERVERROOMIDS,
    REMOTE_ROOMS,
    USERPOS_FAREWELL,
)
