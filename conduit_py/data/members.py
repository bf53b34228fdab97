"""Who is in which room: the indexes beside the state."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from conduit_py.data.notified import put_invite_gone, unread_key
from conduit_py.matrix.ids import ServerName
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.batch import UNPLACED, WriteBatch
from kvschema.catalog import members
from kvschema.catalog.members import (
    BAN,
    INVITE,
    JOIN,
    KNOCK,
    LEAVE,
    Farewell,
    Membership,
    MembershipChange,
    UserRoom,
)
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId, StreamPos

KIND_OF = {"join": JOIN, "invite": INVITE, "knock": KNOCK, "leave": LEAVE, "ban": BAN}
NAME_OF = {kind: name for name, kind in KIND_OF.items()}
_IN_ROOM = (JOIN, INVITE, KNOCK)
_BYTES_PER_JOINED = 140
_BYTES_PER_SERVER = 200
FAREWELLS_KEPT_MS = 90 * 24 * 3600 * 1000
"""How long clients that were away hear of a room that was removed. One that comes later has to find out by asking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberChange:
    """One user's membership of one room going from one kind to another."""

    room: ShortRoomId
    user: ShortUserId
    server_name: ServerName
    is_local: bool
    before: int | None
    """Kind before, None if the user had none."""
    after: int
    event: ShortEventId
    """The membership event, 0 if it is not stored."""
    pos: StreamPos
    sender: str
    stripped_state: list[Any] | None = None
    event_id: str = ""
    """Of a membership event that is not stored."""


Standing = tuple[int, Membership]
"""Kind and row of a local user's membership of one room."""


def get_membership(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> Standing | None:
    """Kind and row of a local user's standing in a room."""
    for kind in (JOIN, INVITE, LEAVE, BAN, KNOCK):
        row = members.USERROOMID_MEMBERSHIP.get(snapshot, UserRoom(user, kind, room))
        if row is not None:
            return kind, row
    return None


def is_joined(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> bool:
    """Is this local user joined to the room?"""
    return members.USERROOMID_MEMBERSHIP.has(snapshot, UserRoom(user, JOIN, room))


def get_local_joined(snapshot: Snapshot, room: ShortRoomId) -> frozenset[ShortUserId]:
    """Local users who are joined to a room."""
    key = ("localjoined", room)
    cached = snapshot.cache.get(key, snapshot.pos)
    if cached is None:
        scanned = members.ROOMUSERID_MEMBER.scan_keys(snapshot, room, JOIN, 0)
        cached = frozenset(key.user for key in scanned)
        snapshot.cache.put(key, cached, _BYTES_PER_JOINED * len(cached), snapshot.pos)
    return cast("frozenset[ShortUserId]", cached)


def is_remote_joined(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> bool:
    """Is this user of another server joined to the room?"""
    return members.ROOMUSERID_MEMBER.has(snapshot, members.RoomMember(room, JOIN, 1, user))


def scan_rooms(snapshot: Snapshot, user: ShortUserId, kind: int) -> Iterator[tuple[ShortRoomId, Membership]]:
    """Rooms of a local user by kind of membership."""
    for key, row in members.USERROOMID_MEMBERSHIP.scan(snapshot, user, kind):
        yield key.room, row


def scan_members(
    snapshot: Snapshot, room: ShortRoomId, kind: int, *, local_only: bool = False
) -> Iterator[tuple[ShortUserId, ShortEventId]]:
    """Members of a room with their membership events. ``kind`` is JOIN, INVITE or KNOCK; local users come first."""
    leading = (room, kind, 0) if local_only else (room, kind)
    for key, event in members.ROOMUSERID_MEMBER.scan(snapshot, *leading):
        yield key.user, ShortEventId(event)


def scan_remote_joined(snapshot: Snapshot, room: ShortRoomId) -> Iterator[tuple[ShortUserId, ShortEventId]]:
    """Joined members of other servers with their membership events."""
    for key, event in members.ROOMUSERID_MEMBER.scan(snapshot, room, JOIN, 1):
        yield key.user, ShortEventId(event)


def scan_joined_after(
    snapshot: Snapshot, room: ShortRoomId, last: members.RoomMember | None
) -> Iterator[members.RoomMember]:
    """Joined members past one of them, or all."""
    return members.ROOMUSERID_MEMBER.scan_keys(snapshot, room, JOIN, after=last)


def get_member_count(snapshot: Snapshot, room: ShortRoomId, kind: int) -> int:
    return members.ROOMID_MEMBERCOUNT.get(snapshot, members.RoomKind(room, kind)) or 0


def scan_changes(
    snapshot: Snapshot, user: ShortUserId, *, after: int, until: int
) -> Iterator[tuple[StreamPos, MembershipChange]]:
    """Rooms whose latest change of this local user's membership lies past ``after``, up to ``until``."""
    start, stop = members.UserPos(user, StreamPos(after)), members.UserPos(user, StreamPos(until))
    for key, change in members.USERPOS_MEMBERSHIPCHANGE.scan(snapshot, user, after=start, until=stop):
        yield key.pos, change


def get_changes(
    snapshot: Snapshot, user: ShortUserId, *, after: int, until: int
) -> Mapping[ShortRoomId, MembershipChange]:
    """The same by room. Every incremental /sync asks twice: for its rooms and for whose devices it tells of."""
    scanned = partial(scan_changes, snapshot, user, after=after, until=until)
    return snapshot.once(("moved", user, after, until), lambda: {change.room: change for _, change in scanned()})


def scan_servers(snapshot: Snapshot, room: ShortRoomId) -> Iterator[ServerName]:
    """Servers with joined members."""
    for key in members.ROOMSERVERIDS.scan_keys(snapshot, room):
        yield ServerName(key.server_name)


def get_servers_with_counts(snapshot: Snapshot, room: ShortRoomId) -> Mapping[ServerName, int]:
    """Servers with joined members, and how many of those. Every event of ours asks for them."""
    key = ("servers", room)
    cached = snapshot.cache.get(key, snapshot.pos)
    if cached is None:
        rows = members.ROOMSERVERIDS.scan(snapshot, room)
        cached = {ServerName(key.server_name): count for key, count in rows}
        snapshot.cache.put(key, cached, _BYTES_PER_SERVER * len(cached), snapshot.pos)
    return cast("Mapping[ServerName, int]", cached)


def is_server_joined(snapshot: Snapshot, room: ShortRoomId, server_name: ServerName) -> bool:
    """Has the server a joined member in the room?"""
    return members.ROOMSERVERIDS.has(snapshot, members.RoomServer(room, server_name))


def scan_remote_rooms(snapshot: Snapshot, user: ShortUserId) -> Iterator[tuple[ShortRoomId, StreamPos]]:
    """Rooms that a user of another server is joined to, and since when."""
    for key, began in members.REMOTE_ROOMS.scan(snapshot, user):
        yield key.room, StreamPos(began)


class Staging(Protocol):
    """Where rows go, and what is told of the cache: a turn, or what is handed over to one."""

    batch: WriteBatch

    def changes(self, *keys: Hashable) -> None: ...


def stage_member(turn: Turn, change: MemberChange, old: Standing | None) -> Standing | None:
    """Keep every index in step with one change of membership (or a new membership event of the same kind).

    ``old`` is the standing of a local user before, and what is returned the one after; both are None for others.
    """
    if not change.is_local:
        several = RemoteMembers(change.room)
        several.add(change)
        several.stage(turn, change.pos)
        return None
    return _stage_local(turn, change, old)


def _stage_local(staging: Staging, change: MemberChange, old: Standing | None) -> Standing:
    _put_member(staging.batch, change)
    if (change.before == JOIN) != (change.after == JOIN):
        staging.changes(("localjoined", change.room), ("servers", change.room))
    return stage_own(staging, change, old)


class RemoteMembers:
    """Users of other servers whose membership of one room changes at the same position.

    Of thousands, the rows are put together with other tasks in between; to ``stage`` them is to hand them over.
    """

    def __init__(self, room: ShortRoomId) -> None:
        self._room = room
        self._batch = WriteBatch()
        self._began: list[bytes] = []
        self._moves_servers = False

    def add(self, change: MemberChange) -> None:
        """One change, whose own ``pos`` does not matter."""
        _put_member(self._batch, change)
        if (change.before == JOIN) == (change.after == JOIN):
            return
        self._moves_servers = True
        key = members.RemoteRoom(change.user, change.room)
        if change.after == JOIN:
            self._began.append(members.REMOTE_ROOMS.key.encode(key))
        else:
            self._batch.delete(members.REMOTE_ROOMS, key)

    def stage(self, turn: Turn, pos: StreamPos) -> None:
        turn.batch.extend(self._batch)
        turn.batch.put_same(members.REMOTE_ROOMS, self._began, pos)
        if self._moves_servers:
            turn.changes(("servers", self._room))


class LocalMembers:
    """The same for users of this server. Some of their rows hold the position, which is put in in the end."""

    def __init__(self) -> None:
        self.batch = WriteBatch()
        self._placed = WriteBatch()
        self._changed: dict[Hashable, None] = {}
        self._standings: dict[ShortUserId, Standing] = {}

    def changes(self, *keys: Hashable) -> None:
        self._changed.update(dict.fromkeys(keys))

    def add(self, change: MemberChange, old: Standing | None) -> None:
        """One change, whose ``pos`` is ``UNPLACED``. ``old`` is the user's standing before."""
        _, row = self._standings[change.user] = _stage_local(self, change, old)
        # A new display name is no new membership, and keeps its position.
        if row.pos == UNPLACED:
            self._placed.writes += self.batch.writes[-2:]
            del self.batch.writes[-2:]

    def stage(self, turn: Turn, pos: StreamPos) -> Mapping[ShortUserId, Standing]:
        """Hand it over. What is returned is how the users stand now."""
        turn.batch.extend(self.batch)
        turn.batch.extend_at(self._placed, pos)
        turn.changes(*self._changed)
        return {
            user: (kind, row._replace(pos=pos) if row.pos == UNPLACED else row)
            for user, (kind, row) in self._standings.items()
        }


def _put_member(batch: WriteBatch, change: MemberChange) -> None:
    """What is the same for users of ours and of other servers."""
    remote = 0 if change.is_local else 1
    if change.before in _IN_ROOM and change.before != change.after:
        key = members.RoomMember(change.room, change.before, remote, change.user)
        batch.delete(members.ROOMUSERID_MEMBER, key)
        batch.add(members.ROOMID_MEMBERCOUNT, members.RoomKind(change.room, change.before), -1)
    if change.after in _IN_ROOM:
        key = members.RoomMember(change.room, change.after, remote, change.user)
        batch.put(members.ROOMUSERID_MEMBER, key, change.event)
        if change.before != change.after:
            batch.add(members.ROOMID_MEMBERCOUNT, members.RoomKind(change.room, change.after), 1)
    difference = (change.after == JOIN) - (change.before == JOIN)
    if difference:
        batch.add(members.ROOMSERVERIDS, members.RoomServer(change.room, change.server_name), difference)
        batch.add(members.SERVERROOMIDS, members.ServerRoom(change.server_name, change.room), difference)


def stage_own(staging: Staging, change: MemberChange, old: Standing | None) -> Standing:
    """The membership of a local user alone: all there is of a room that we do not take part in."""
    since, is_forgotten = change.pos, False
    if old is not None:
        kind, row = old
        # What others do to somebody who is gone does not bring the room back into that user's lists.
        is_forgotten = row.forgotten and change.after not in _IN_ROOM
        if is_forgotten or kind == change.after == JOIN:
            since = row.pos  # A new display name is no new membership.
        else:
            staging.changes(unread_key(change.user, change.room))
            if kind == INVITE and not row.event:
                put_invite_gone(staging.batch, change.room, row.pos)
            staging.batch.delete(members.USERPOS_MEMBERSHIPCHANGE, members.UserPos(change.user, row.pos))
        staging.batch.delete(members.USERROOMID_MEMBERSHIP, UserRoom(change.user, kind, change.room))
    staging.changes(("joined", change.user))
    row = Membership(
        since,
        change.event,
        change.stripped_state,
        forgotten=is_forgotten,
        sender=change.sender,
        event_id=change.event_id,
    )
    # The rows that hold the position come last.
    staging.batch.put(members.USERROOMID_MEMBERSHIP, UserRoom(change.user, change.after, change.room), row)
    staging.batch.put(
        members.USERPOS_MEMBERSHIPCHANGE,
        members.UserPos(change.user, since),
        MembershipChange(change.room, change.after),
    )
    return change.after, row


def stage_forgotten(turn: Turn, user: ShortUserId, room: ShortRoomId, kind: int, row: Membership) -> None:
    """The user wants no trace of a room that was left."""
    turn.batch.put(
        members.USERROOMID_MEMBERSHIP, UserRoom(user, kind, room), row._replace(forgotten=True, stripped_state=None)
    )


def count_rooms_of_server(snapshot: Snapshot, server_name: ServerName) -> int:
    """Rooms that we know and that the server has joined members in."""
    return sum(1 for _ in members.SERVERROOMIDS.scan_keys(snapshot, server_name))


def scan_farewells(snapshot: Snapshot, user: ShortUserId, *, after: int, until: int) -> Iterator[Farewell]:
    """Rooms that were removed, and that the user left past ``after``, up to ``until``."""
    start, stop = members.UserPos(user, StreamPos(after)), members.UserPos(user, StreamPos(until))
    for _, row in members.USERPOS_FAREWELL.scan(snapshot, user, after=start, until=stop):
        yield row


def scan_all_farewells(snapshot: Snapshot, after: members.UserPos | None) -> Iterator[tuple[members.UserPos, Farewell]]:
    """Those of everybody, past a key."""
    return members.USERPOS_FAREWELL.scan(snapshot, after=after)


def stage_farewell_removed(turn: Turn, key: members.UserPos) -> None:
    turn.batch.delete(members.USERPOS_FAREWELL, key)


def stage_unbacked(turn: Turn, user: ShortUserId, room: ShortRoomId, standing: Standing) -> None:
    """The room's state does not speak of the user any more: what is left is what the user knows."""
    kind, row = standing
    turn.batch.put(members.USERROOMID_MEMBERSHIP, UserRoom(user, kind, room), row._replace(event=ShortEventId(0)))
