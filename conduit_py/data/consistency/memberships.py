"""Who is in which room: ``kvschema.catalog.members``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from conduit_py.data.consistency.derived import compare_rows, compare_tree, scan_owners
from conduit_py.data.consistency.events import read_fields
from conduit_py.data.consistency.server import get_server_name
from conduit_py.data.members import KIND_OF, get_membership
from conduit_py.data.short_ids import get_state_key, get_user
from conduit_py.data.timeline import get_row
from conduit_py.matrix.ids import UserId, server_name_of
from conduit_py.storage.database import Snapshot
from kvschema.catalog import members, rooms, state
from kvschema.catalog.members import (
    INVITE,
    JOIN,
    KNOCK,
    Membership,
    MembershipChange,
    RemoteRoom,
    RoomKind,
    RoomMember,
    RoomServer,
    ServerRoom,
    UserPos,
    UserRoom,
)
from kvschema.catalog.rooms import ByRoom, ByShort, ShortEventId, ShortRoomId
from kvschema.catalog.state import RoomStateKey
from kvschema.tree import Tree


def check_members(snapshot: Snapshot) -> Iterator[str]:
    """The members of each room are those that its current state says are joined, invited or knocking."""
    own = get_server_name(snapshot)
    for room in _held_rooms(snapshot):
        expected = {}
        for user_id, event, kind in _scan_member_state(snapshot, room):
            if kind not in (JOIN, INVITE, KNOCK):  # Of who is gone there is no row, and maybe never was.
                continue
            user = get_user(snapshot, user_id)
            if user is None:
                yield f"roomuserid_member: room {room} has the member {user_id}, who has no short id"
            else:
                remote = 0 if server_name_of(user_id) == own else 1
                expected[RoomMember(room, kind, remote, user)] = int(event)
        yield from compare_rows(
            members.ROOMUSERID_MEMBER, dict(members.ROOMUSERID_MEMBER.scan(snapshot, room)), expected
        )
    yield from _of_unknown_rooms(snapshot, members.ROOMUSERID_MEMBER)


def check_remote_rooms(snapshot: Snapshot) -> Iterator[str]:
    """Users of other servers are joined to the rooms that they are said to be, and since before now."""
    for room in _held_rooms(snapshot):
        for key in members.ROOMUSERID_MEMBER.scan_keys(snapshot, room, JOIN, 1):
            if not members.REMOTE_ROOMS.has(snapshot, RemoteRoom(key.user, room)):
                yield f"userroomid_remotejoined: user {key.user} is joined to room {room}, and it is not said"
    for where, began in members.REMOTE_ROOMS.scan(snapshot):
        if not members.ROOMUSERID_MEMBER.has(snapshot, RoomMember(where.room, JOIN, 1, where.user)):
            yield f"userroomid_remotejoined: {where} is said, and is not so"
        if began > snapshot.pos:
            yield f"userroomid_remotejoined: {where} begins at {began}, past {snapshot.pos}"


def check_member_counts(snapshot: Snapshot) -> Iterator[str]:
    for room in _held_rooms(snapshot):
        counted = Counter(RoomKind(key.room, key.kind) for key in members.ROOMUSERID_MEMBER.scan_keys(snapshot, room))
        yield from compare_rows(
            members.ROOMID_MEMBERCOUNT, dict(members.ROOMID_MEMBERCOUNT.scan(snapshot, room)), counted
        )
    yield from _of_unknown_rooms(snapshot, members.ROOMID_MEMBERCOUNT)


def check_servers_of_rooms(snapshot: Snapshot) -> Iterator[str]:
    for room in _held_rooms(snapshot):
        counted: Counter[RoomServer] = Counter()
        for key in members.ROOMUSERID_MEMBER.scan_keys(snapshot, room, JOIN):
            user_id = rooms.SHORTUSERID_USERID.get(snapshot, ByShort(key.user))
            if user_id is not None:
                counted[RoomServer(room, server_name_of(UserId(user_id)))] += 1
        yield from compare_rows(members.ROOMSERVERIDS, dict(members.ROOMSERVERIDS.scan(snapshot, room)), counted)
    yield from _of_unknown_rooms(snapshot, members.ROOMSERVERIDS)


def check_rooms_of_servers(snapshot: Snapshot) -> Iterator[str]:
    return compare_tree(
        snapshot,
        members.SERVERROOMIDS,
        ((ServerRoom(key.server_name, key.room), count) for key, count in members.ROOMSERVERIDS.scan(snapshot)),
        lambda key, _: members.ROOMSERVERIDS.has(snapshot, RoomServer(key.room, key.server_name)),
    )


def check_memberships(snapshot: Snapshot) -> Iterator[str]:
    """Local users stand in the rooms that we hold as the rooms' current states say, and once in each room.

    A row without an event is an invite or a knock from outside, which the state that we hold does not know.
    """
    own = get_server_name(snapshot)
    for room in _held_rooms(snapshot):
        for user_id, event, kind in _scan_member_state(snapshot, room):
            user = get_user(snapshot, user_id) if server_name_of(user_id) == own else None
            if user is None:
                continue
            stored = get_membership(snapshot, user, room)
            if stored is None or (stored[1].event and (stored[0], stored[1].event) != (kind, event)):
                found = "no row" if stored is None else f"kind {stored[0]} by {stored[1].event}"
                yield f"userroomid_membership: {user_id} has {found} in room {room} instead of kind {kind} by {event}"
    for key, row in members.USERROOMID_MEMBERSHIP.scan(snapshot):
        for problem in _about_membership(snapshot, key, row, own):
            yield f"userroomid_membership: {key} {problem}"


def _about_membership(snapshot: Snapshot, key: UserRoom, row: Membership, own: str) -> Iterator[str]:
    user_id = rooms.SHORTUSERID_USERID.get(snapshot, ByShort(key.user))
    if user_id is None or server_name_of(UserId(user_id)) != own:
        yield f"is of {user_id}, who is not a user of this server"
        return
    if not rooms.SHORTROOMID_ROOM.has(snapshot, ByRoom(key.room)):
        yield "is in a room that there is not"
    if (row.stripped_state is not None) != (key.kind in (INVITE, KNOCK)) and not row.forgotten:
        yield "has stripped state where it should have none, or the other way round"
    if not row.event:
        return
    entry = get_state_key(snapshot, "m.room.member", user_id)
    current = None if entry is None else state.ROOMSTATE_SHORTEVENTID.get(snapshot, RoomStateKey(key.room, entry))
    event = None if current is None else get_row(snapshot, ShortEventId(current))
    if event is None or current != row.event:
        yield f"is by {row.event}, and the room's state has {current}"
        return
    fields = read_fields(event)
    if KIND_OF.get(_membership_of(fields)) != key.kind:
        yield f"is by {row.event}, which says {_membership_of(fields)}"
    if row.sender != fields.get("sender"):
        yield f"was changed by {row.sender!r}, and its event by {fields.get('sender')!r}"


def check_changes(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: UserPos, change: MembershipChange) -> bool:
        row = members.USERROOMID_MEMBERSHIP.get(snapshot, UserRoom(key.user, change.kind, change.room))
        return row is not None and row.pos == key.pos

    return compare_tree(
        snapshot,
        members.USERPOS_MEMBERSHIPCHANGE,
        (
            (UserPos(key.user, row.pos), MembershipChange(key.room, key.kind))
            for key, row in members.USERROOMID_MEMBERSHIP.scan(snapshot)
        ),
        follows,
    )


def _held_rooms(snapshot: Snapshot) -> Iterator[ShortRoomId]:
    for key in state.ROOMID_STATEID.scan_keys(snapshot):
        yield key.room


def _scan_member_state(snapshot: Snapshot, room: ShortRoomId) -> Iterator[tuple[UserId, ShortEventId, int]]:
    """User, event and kind of every membership in the current state."""
    for key, short in state.ROOMSTATE_SHORTEVENTID.scan(snapshot, room):
        record = rooms.SHORTSTATEKEY_STATEKEY.get(snapshot, ByShort(key.state_key))
        if record is None or record.type != "m.room.member":
            continue
        row = get_row(snapshot, ShortEventId(short))
        kind = None if row is None else KIND_OF.get(_membership_of(read_fields(row)))
        if kind is not None:
            yield UserId(record.state_key), ShortEventId(short), kind


def _membership_of(fields: dict[str, Any]) -> str:
    membership = fields.get("content", {}).get("membership")
    return membership if isinstance(membership, str) else ""


def _of_unknown_rooms(snapshot: Snapshot, tree: Tree[Any, Any]) -> Iterator[str]:
    for room in scan_owners(snapshot, tree):
        if not state.ROOMID_STATEID.has(snapshot, ByRoom(ShortRoomId(room))):
            yield f"{tree.name}: the rows of room {room} follow from nothing"
