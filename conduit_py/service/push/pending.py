"""What a user was notified of and has not read, as a pusher sees it, and how much of it there is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple, cast

from conduit_py.data import members, notified
from conduit_py.data.notified import Group, get_unread, scan_unread
from conduit_py.service.hub import SyncHub
from conduit_py.service.push.rings import Rooms
from conduit_py.service.sync.plan import get_joined_rooms, read_room_pos
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import INVITE, JOIN
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

PENDING_MAX = 100
"""Events that wait for one pusher. Whoever has more of them looks at the newest."""

_BYTES_PER_ROOM = 150


class Pending(NamedTuple):
    """An event that its user was notified of."""

    pos: int
    room: ShortRoomId


def list_pending(snapshot: Snapshot, user: ShortUserId, *, after: int, rooms: Rooms) -> list[Pending]:
    """What is unread past a position, the oldest first, and of too much the newest. ``rooms`` are those to look at."""
    everywhere = _scan_rooms(snapshot, user) if rooms is None else rooms
    # Most rooms have nothing new, and that costs one look.
    with_news = [room for room in everywhere if next(notified.scan_places(snapshot, room), 0) > after]
    found = [Pending(pos, room) for room in with_news for pos in _list_newest(snapshot, user, room, after)]
    return sorted(found)[-PENDING_MAX:]


def get_group(snapshot: Snapshot, user: ShortUserId, pending: Pending) -> Group | None:
    """How the event notified the user; None if it does not any more."""
    row = notified.get_notified(snapshot, pending.room, pending.pos)
    return None if row is None else notified.find_group(row, notified.to_bytes(user))


def count_unread(snapshot: Snapshot, user: ShortUserId, hub: SyncHub) -> int:
    """Unread messages in all rooms that the user is in. Only rooms with news are counted again."""
    key = ("unreadcounts", user)
    known = cast("dict[ShortRoomId, tuple[int, int]]", snapshot.cache.get(key, snapshot.pos) or {})
    counts = {}
    for room in get_joined_rooms(snapshot, user):
        count = known.get(room)
        if count is None or count[0] < hub.get_room_pos(snapshot, room, read_room_pos):
            unread = get_unread(snapshot, user, room)
            count = (snapshot.pos, 0 if unread is None else unread.all.notifications)
        counts[room] = count
    snapshot.cache.put(key, counts, _BYTES_PER_ROOM * len(counts), snapshot.pos)
    return sum(count for _, count in counts.values())


def _scan_rooms(snapshot: Snapshot, user: ShortUserId) -> Iterator[ShortRoomId]:
    for kind in (JOIN, INVITE):
        for room, _ in members.scan_rooms(snapshot, user, kind):
            yield room


def _list_newest(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId, after: int) -> list[int]:
    """The places of what is unread in a room past ``after``, no more than can be pending."""
    standing = members.get_membership(snapshot, user, room)
    if standing is None:
        return []
    if standing[0] == INVITE:
        return [standing[1].pos] if standing[1].pos > after else []
    return [entry.pos for entry in islice(scan_unread(snapshot, user, room, after=after), PENDING_MAX)]
