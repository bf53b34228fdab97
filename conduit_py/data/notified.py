"""Which events notified whom, one row per event, and what of it a user has not read.

A row names everybody whom its event notified, so that sending costs one row however many members there are. What a
user has read is nowhere marked in the rows: it follows from where the user joined, from receipts, and from what the
user sent. ``get_unread`` puts this together and keeps it in the object cache with the position it was read at, so the
next one reads only what came since. Receipts and memberships only ever move on, hence what was read once stays read.

Rows that go away (redacted, swept) drop the cached values of those whom they name.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from conduit_py.data import receipts, short_ids, timeline
from conduit_py.data.receipts import MAIN
from conduit_py.matrix.ids import EventId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.batch import WriteBatch
from kvschema.catalog import members
from kvschema.catalog.members import JOIN, UserRoom
from kvschema.catalog.receipts import ROOMPOS_NOTIFIED, Notified, Receipt, RoomPos
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId, StreamPos

MAIN_TIMELINE = ShortEventId(0)
_ID_BYTES = 8
_POS_MAX = (1 << 64) - 1
_CACHED_BYTES = 600
_CACHED_BYTES_PER_ENTRY = 24
_CACHED_BYTES_PER_THREAD = 300
_NEWEST = 4
"""Rows of a room that are read once for everybody who asks what came since."""
ENTRIES_MAX = 256
"""Unread events of a room that are known one by one for each of its members: many an account never reads anything."""


class Unread(NamedTuple):
    """An event that notified a user who has not read it."""

    pos: int
    thread: ShortEventId
    is_highlight: bool


class Count(NamedTuple):
    """So many events notified a user who has not read them."""

    notifications: int
    highlights: int

    def add(self, entry: Unread) -> Count:
        """One more."""
        return Count(self.notifications + 1, self.highlights + entry.is_highlight)


NOTHING = Count(0, 0)


class UnreadInRoom(NamedTuple):
    """What a user has not read in a room, and up to where each part of it is read.

    There may be thousands of events, and every message adds one for each member: so they are counted once, the newest
    are kept as numbers, and what is known after a message shares them with what was known before it.
    """

    pos: int
    """The position of the snapshot that it was read in."""
    read_pos: int
    """Everything up to here is read."""
    thread_pos: Mapping[ShortEventId, int]
    """Up to where single threads are read, where that is further."""
    all: Count
    by_thread: Mapping[ShortEventId, Count]
    log: array[int]
    """Three numbers of each entry, the oldest first. Others may have added theirs behind those that are known."""
    known: int
    """How many entries are in the log: at least half of ``ENTRIES_MAX``, if not all."""

    @property
    def newest(self) -> tuple[Unread, ...]:
        """The entries that are known, the oldest first."""
        numbers = iter(self.log[: 3 * self.known])
        threes = zip(numbers, numbers, numbers, strict=True)
        return tuple(Unread(pos, ShortEventId(thread), bool(is_highlight)) for pos, thread, is_highlight in threes)

    def go_on(self, pos: int, came: list[Unread]) -> UnreadInRoom:
        """The same with what came up to ``pos``."""
        end = 3 * self.known
        log = self.log if len(self.log) == end else self.log[:end]
        total, by_thread = self.all, dict(self.by_thread)
        for entry in came:
            log.extend(entry)
            total = total.add(entry)
            by_thread[entry.thread] = by_thread.get(entry.thread, NOTHING).add(entry)
        known = self.known + len(came)
        if known > ENTRIES_MAX:
            known = ENTRIES_MAX // 2
            log = log[-3 * known :]
        return UnreadInRoom(pos, self.read_pos, self.thread_pos, total, by_thread, log, known)

    def has_read(self, pos: int, thread: ShortEventId) -> bool:
        """Has the user read what is at a place of the room?"""
        return pos <= max(self.read_pos, self.thread_pos.get(thread, 0))

    @property
    def size(self) -> int:
        """In bytes, about."""
        threads = len(self.thread_pos) + len(self.by_thread)
        return _CACHED_BYTES + _CACHED_BYTES_PER_ENTRY * self.known + _CACHED_BYTES_PER_THREAD * threads


class Group(NamedTuple):
    """How a user was notified."""

    is_highlight: bool
    actions: list[Any]


def pack_users(users: Iterable[ShortUserId]) -> bytes:
    """As they stand in a row."""
    packed = sorted(users)
    return struct.pack(f">{len(packed)}Q", *packed)


def unpack_users(packed: bytes) -> tuple[ShortUserId, ...]:
    return struct.unpack(f">{len(packed) // _ID_BYTES}Q", packed)


def scan_users(row: Notified) -> Iterator[ShortUserId]:
    """Everybody whom the event notified."""
    for _, _, users in row.groups:
        yield from unpack_users(users)


def find_group(row: Notified, user: bytes) -> Group | None:
    """How the event notified a user, given by the bytes of the short id; None if it did not."""
    for is_highlight, actions, users in row.groups:
        at = users.find(user)
        while at % _ID_BYTES and at > 0:
            at = users.find(user, at + 1)
        if at >= 0:
            return Group(is_highlight, actions)
    return None


def to_bytes(user: ShortUserId) -> bytes:
    """For ``find_group``."""
    return user.to_bytes(_ID_BYTES, "big")


def unread_key(user: ShortUserId, room: ShortRoomId) -> tuple[str, ShortUserId, ShortRoomId]:
    """Under which what a user has not read in a room is cached."""
    return ("unread", user, room)


def get_notified(snapshot: Snapshot, room: ShortRoomId, pos: int) -> Notified | None:
    return ROOMPOS_NOTIFIED.get(snapshot, RoomPos(room, StreamPos(pos)))


def stage_notified(turn: Turn, room: ShortRoomId, pos: int, row: Notified) -> None:
    turn.batch.put(ROOMPOS_NOTIFIED, RoomPos(room, StreamPos(pos)), row)


def stage_unnoticed(snapshot: Snapshot, turn: Turn, room: ShortRoomId, pos: int) -> None:
    """The event at a place notifies nobody any more: it was redacted. Its sender has still read what was before."""
    row = get_notified(snapshot, room, pos)
    if row is None:
        # It may have been staged in this very turn.
        turn.batch.delete(ROOMPOS_NOTIFIED, RoomPos(room, StreamPos(pos)))
    elif row.sender:
        turn.changes(*(unread_key(user, room) for user in scan_users(row)))
        stage_notified(turn, room, pos, row._replace(groups=[]))
    else:
        stage_removed(turn, room, pos, row)


def put_invite_gone(batch: WriteBatch, room: ShortRoomId, pos: int) -> None:
    """An invite to a room that we are not in was answered or taken back. It has no place in any timeline."""
    batch.delete(ROOMPOS_NOTIFIED, RoomPos(room, StreamPos(pos)))


def stage_removed(turn: Turn, room: ShortRoomId, pos: int, row: Notified) -> None:
    turn.changes(*(unread_key(user, room) for user in scan_users(row)))
    turn.batch.delete(ROOMPOS_NOTIFIED, RoomPos(room, StreamPos(pos)))


def scan_notified(
    snapshot: Snapshot, room: ShortRoomId, *, after: int = 0, until: int | None = None
) -> Iterator[tuple[int, Notified]]:
    """(place, row) past ``after``, up to ``until``, the oldest first."""
    stop = None if until is None else RoomPos(room, StreamPos(until))
    for key, row in ROOMPOS_NOTIFIED.scan(snapshot, room, after=RoomPos(room, StreamPos(after)), until=stop):
        yield key.pos, row


def scan_newest(snapshot: Snapshot, room: ShortRoomId, *, before: int | None = None) -> Iterator[tuple[int, Notified]]:
    """(place, row) below ``before``, the newest first."""
    start = None if before is None else RoomPos(room, StreamPos(before))
    for key, row in ROOMPOS_NOTIFIED.scan(snapshot, room, after=start, reverse=True):
        yield key.pos, row


def scan_places(snapshot: Snapshot, room: ShortRoomId) -> Iterator[int]:
    """The newest first."""
    return (key.pos for key in ROOMPOS_NOTIFIED.scan_keys(snapshot, room, reverse=True))


def get_next_room(snapshot: Snapshot, after: ShortRoomId | None) -> ShortRoomId | None:
    """The next room, in the order of the tree, with any row; None behind the last."""
    start = None if after is None else RoomPos(after, StreamPos(_POS_MAX))
    key = next(ROOMPOS_NOTIFIED.scan_keys(snapshot, after=start), None)
    return None if key is None else key.room


def get_unread(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> UnreadInRoom | None:
    """What a local user has not read in a room; None where the user is not joined."""
    key = unread_key(user, room)
    cached: UnreadInRoom | None = snapshot.cache.get(key, snapshot.pos)
    if cached is not None and cached.pos == snapshot.pos:
        return cached
    unread = _read_all(snapshot, user, room) if cached is None else _read_on(snapshot, user, room, cached)
    if unread is not None:
        snapshot.cache.put(key, unread, unread.size, snapshot.pos)
    return unread


def scan_unread(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId, *, after: int = 0) -> Iterator[Unread]:
    """Each of the events that a local user has not read in a room and that are past ``after``, the newest first."""
    unread = get_unread(snapshot, user, room)
    if unread is None:
        return
    wanted = to_bytes(user)
    for pos, row in scan_newest(snapshot, room):
        if pos <= max(after, unread.read_pos):
            return
        group = None if unread.has_read(pos, row.thread) else find_group(row, wanted)
        if group is not None:
            yield Unread(pos, row.thread, group.is_highlight)


def _read_all(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> UnreadInRoom | None:
    membership = members.USERROOMID_MEMBERSHIP.get(snapshot, UserRoom(user, JOIN, room))
    if membership is None:
        return None
    stored = receipts.scan_receipts_of(snapshot, room, user)
    read_pos, thread_pos = _move_on(snapshot, membership.pos, {}, stored)
    entries: list[Unread] = []
    wanted = to_bytes(user)
    for pos, row in scan_newest(snapshot, room):
        if pos <= read_pos:
            break
        if row.sender == user:
            read_pos = pos
            break
        group = find_group(row, wanted)
        if group is not None and pos > thread_pos.get(row.thread, 0):
            entries.append(Unread(pos, row.thread, group.is_highlight))
    return _all_of(read_pos, thread_pos).go_on(snapshot.pos, entries[::-1])


def _read_on(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId, before: UnreadInRoom) -> UnreadInRoom | None:
    """What was known, and what came since."""
    read_pos, thread_pos = before.read_pos, before.thread_pos
    came: list[Unread] = []
    wanted = to_bytes(user)
    for pos, row in _list_since(snapshot, room, before.pos):
        if row.sender == user:
            read_pos = pos
        elif (group := find_group(row, wanted)) is not None:
            came.append(Unread(pos, row.thread, group.is_highlight))
    receipts_since = list(_scan_new_receipts(snapshot, user, room, before.pos))
    if not receipts_since and read_pos == before.read_pos:
        return before.go_on(snapshot.pos, came)
    read_pos, thread_pos = _move_on(snapshot, read_pos, thread_pos, receipts_since)
    newest = before.newest
    if len(newest) < before.all.notifications and read_pos < newest[0].pos:
        # Of what is unread still, something is not among those.
        return _read_all(snapshot, user, room)
    nothing = _all_of(read_pos, thread_pos)
    left = [entry for entry in (*newest, *came) if not nothing.has_read(entry.pos, entry.thread)]
    return nothing.go_on(snapshot.pos, left)


def _all_of(read_pos: int, thread_pos: Mapping[ShortEventId, int]) -> UnreadInRoom:
    """Nothing is unread."""
    return UnreadInRoom(0, read_pos, thread_pos, NOTHING, {}, array("Q"), 0)


def _list_since(snapshot: Snapshot, room: ShortRoomId, after: int) -> Iterable[tuple[int, Notified]]:
    """The same as ``scan_notified``. Mostly one event came, and everybody whom it woke asks for it."""
    newest = snapshot.once(("newestnotified", room), lambda: tuple(islice(scan_newest(snapshot, room), _NEWEST)))
    if len(newest) == _NEWEST and newest[-1][0] > after:
        return scan_notified(snapshot, room, after=after)
    return [entry for entry in reversed(newest) if entry[0] > after]


def _scan_new_receipts(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId, after: int) -> Iterator[Receipt]:
    if receipts.get_last_pos(snapshot, room) <= after:
        return
    user_id = short_ids.get_user_id(snapshot, user)
    for receipt in receipts.scan_receipts(snapshot, room, after=after, until=snapshot.pos):
        if receipt.user_id == user_id:
            yield receipt


def _move_on(
    snapshot: Snapshot,
    read_pos: int,
    thread_pos: Mapping[ShortEventId, int],
    new: Iterable[Receipt],
) -> tuple[int, dict[ShortEventId, int]]:
    """Up to where is read what, with more receipts taken into account."""
    moved = dict(thread_pos)
    for receipt in new:
        if receipt.read_pos <= read_pos:
            continue
        if not receipt.thread_id:
            read_pos = receipt.read_pos
            continue
        thread = MAIN_TIMELINE
        if receipt.thread_id != MAIN:
            found = timeline.get_event(snapshot, EventId(receipt.thread_id))
            if found is None:
                continue
            thread = found
        moved[thread] = max(receipt.read_pos, moved.get(thread, 0))
    return read_pos, {thread: pos for thread, pos in moved.items() if pos > read_pos}
