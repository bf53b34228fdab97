"""Who shares a room with a user now, and who did at an earlier position.

The states of a room at two positions are compared, so a room costs what changed in it and not its size; a room that the
user came to or went from costs its members.

Spec: client-server-api/#tracking-the-device-list-for-a-user
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator
from functools import cached_property
from typing import Final, cast

from conduit_py.data import members, short_ids, timeline
from conduit_py.data.state import EMPTY, ENTRIES_AT_ONCE, Entries, LooseState, StateChain, get_current_state_id
from conduit_py.data.state_at import get_state_id_at
from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortStateKey, ShortUserId, StateId

_MEMBER = "m.room.member"
KEYS_AT_ONCE: Final = 500
"""State keys that are looked up between two steps of the event loop: about 5 ms."""
_ENTRIES_WEIGHT: Final = ENTRIES_AT_ONCE // 50
"""A key that is looked up takes as long as fifty entries that are compared."""


def get_rooms(snapshot: Snapshot, user: ShortUserId) -> frozenset[ShortRoomId]:
    """Rooms that a local user is joined to."""
    return frozenset(room for room, _ in members.scan_rooms(snapshot, user, JOIN))


def scan_local_sharing(snapshot: Snapshot, user: ShortUserId) -> set[ShortUserId]:
    """Local users who share a room with a local user, that user too."""
    return {user}.union(
        other
        for room in get_rooms(snapshot, user)
        for other, _ in members.scan_members(snapshot, room, JOIN, local_only=True)
    )


def shares_with_us(snapshot: Snapshot, user: ShortUserId, *, since: int | None = None) -> bool:
    """Does a user of another server share a room with one of ours; with ``since``, all the time since a position?

    May say no to the latter when one of ours came before another went.
    """
    return any(
        since is None or (began <= since and _is_anybody_there_since(snapshot, room, since))
        for room, began in members.scan_remote_rooms(snapshot, user)
        if _is_anybody_there(snapshot, room)
    )


def _is_anybody_there(snapshot: Snapshot, room: ShortRoomId) -> bool:
    return next(members.scan_members(snapshot, room, JOIN, local_only=True), None) is not None


def _is_anybody_there_since(snapshot: Snapshot, room: ShortRoomId, since: int) -> bool:
    for user, _ in members.scan_members(snapshot, room, JOIN, local_only=True):
        standing = members.get_membership(snapshot, user, room)
        if standing is not None and standing[1].pos <= since:
            return True
    return False


def scan_sharing_with_remote(snapshot: Snapshot, user: ShortUserId) -> set[ShortUserId]:
    """Local users who share a room with a user of another server."""
    return {
        other
        for room, _ in members.scan_remote_rooms(snapshot, user)
        for other, _ in members.scan_members(snapshot, room, JOIN, local_only=True)
    }


def scan_servers(snapshot: Snapshot, user: ShortUserId, *, without: Collection[ShortRoomId] = ()) -> set[ServerName]:
    """Servers of users who share a room with a local user, ours among them; some rooms may be left out."""
    rooms = get_rooms(snapshot, user).difference(without)
    return {server_name for room in rooms for server_name in members.scan_servers(snapshot, room)}


class Sharing:
    """One user's rooms at two positions, ``since`` and ``until``.

    Nothing happened in the user's other rooms than those with news, and those that the user came to or went from.
    What is asked of another user costs that one's rooms and the rooms with news, whatever their size: the members of
    a large room that the user has joined are all asked about, and whoever has come to a room since. That may go on in
    later snapshots than the one of ``until``: then somebody may be said to be met who had been before, never the other
    way round.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        user: ShortUserId,
        rooms_with_news: Iterable[ShortRoomId],
        *,
        since: int,
        until: int,
    ) -> None:
        self._user, self._since, self._until = user, since, until
        self.moved = frozenset(members.get_changes(snapshot, user, after=since, until=until))
        """Rooms that the user may have come to or gone from."""
        self._snapshot, self._chain = snapshot, StateChain(snapshot)
        noisy = {*rooms_with_news, *self.moved}
        self._states_then = {room: get_state_id_at(snapshot, room, since) for room in noisy}
        self._states_now = {room: get_current_state_id(snapshot, room) for room in noisy}
        self._changed: dict[ShortRoomId, set[ShortUserId]] = {room: set() for room in noisy}
        """Users whose membership is not what it was. Of a room that we did not know then, nobody is among them: all
        are asked about who are there now, and none of them was."""

    def go_on(self, snapshot: Snapshot) -> None:
        """Read from this snapshot from now on."""
        self._snapshot = snapshot
        self._chain.go_on(snapshot)

    @cached_property
    def _now(self) -> frozenset[ShortRoomId]:
        """Rooms that the user is in. Most replies do not need to know."""
        return self._rooms_until(scan_own_rooms(self._snapshot, self._user))

    @cached_property
    def _then(self) -> tuple[frozenset[ShortRoomId], frozenset[ShortRoomId]]:
        """Rooms that the user was in, without news and with them."""
        came_back = {room for room in self.moved if self._was_joined(room, self._user, self._now)}
        then = (self._now - self.moved) | came_back
        return then - self._changed.keys(), then & self._changed.keys()

    def shares_now(self, other: ShortUserId) -> bool:
        return not self._now.isdisjoint(self._rooms_of(other))

    def compare(self, other: ShortUserId) -> tuple[bool, bool]:
        """Was a room shared with another user, and is one?"""
        rooms = self._rooms_of(other)
        quiet, noisy = self._then
        was_shared = not quiet.isdisjoint(rooms) or any(self._was_joined(room, other, rooms) for room in noisy)
        return was_shared, not self._now.isdisjoint(rooms)

    def find_changed(self) -> Iterator[int]:
        """Look up who came to or went from a room, so many at a time. Must have ended before anything is asked."""
        for room, then in self._states_then.items():
            now = self._states_now[room]
            if then in (now, EMPTY):
                continue
            state_keys = list((yield from self._find_keys(then, now)))
            for start in range(0, len(state_keys), KEYS_AT_ONCE):
                if start or len(state_keys) > KEYS_AT_ONCE:
                    yield KEYS_AT_ONCE
                self._changed[room].update(self._scan_members(state_keys[start : start + KEYS_AT_ONCE]))
            yield len(state_keys) % KEYS_AT_ONCE

    def _find_keys(self, then: StateId, now: StateId) -> Generator[int, None, Entries]:
        if self._chain.count_between(LooseState(then), LooseState(now)) <= ENTRIES_AT_ONCE:
            return self._chain.changes_between(then, now)
        slices = self._chain.find_changes_between(then, now)
        while True:
            try:
                next(slices)
            except StopIteration as done:
                return cast("Entries", done.value)
            yield _ENTRIES_WEIGHT

    def get_changed(self) -> set[ShortUserId]:
        """Users who came to or went from a room."""
        return set().union(*self._changed.values())

    def _scan_members(self, state_keys: Iterable[ShortStateKey]) -> Iterator[ShortUserId]:
        for state_key in state_keys:
            record = short_ids.get_state_key_record(self._snapshot, state_key)
            user = short_ids.get_user(self._snapshot, UserId(record.state_key)) if record.type == _MEMBER else None
            if user is not None:
                yield user

    def _was_joined(self, room: ShortRoomId, user: ShortUserId, rooms_now: Collection[ShortRoomId]) -> bool:
        """Was the user joined to a room with news?"""
        if self._states_then[room] == EMPTY:
            return False
        if user not in self._changed[room]:
            return room in rooms_now
        state_key = short_ids.get_state_key(self._snapshot, _MEMBER, short_ids.get_user_id(self._snapshot, user))
        event = None if state_key is None else self._chain.get(self._states_then[room], state_key)
        return event is not None and self._says_join(event)

    def _says_join(self, event: ShortEventId) -> bool:
        return timeline.get_pdu(self._snapshot, event).content.get("membership") == "join"

    def _rooms_of(self, user: ShortUserId) -> frozenset[ShortRoomId]:
        """Rooms that a user of any server is joined to, as far as we know."""
        return self._rooms_until(members.scan_remote_rooms(self._snapshot, user)) or self._rooms_until(
            scan_own_rooms(self._snapshot, user)
        )

    def _rooms_until(self, rooms: Iterable[tuple[ShortRoomId, int]]) -> frozenset[ShortRoomId]:
        return frozenset(room for room, began in rooms if began <= self._until)


def scan_own_rooms(snapshot: Snapshot, user: ShortUserId) -> Iterator[tuple[ShortRoomId, int]]:
    """Rooms that a local user is joined to, and since when."""
    return ((room, row.pos) for room, row in members.scan_rooms(snapshot, user, JOIN))
