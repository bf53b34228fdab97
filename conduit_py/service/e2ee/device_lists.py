"""Who is told that somebody's devices or cross-signing keys changed.

Of each user only the last change is kept. Whether a change is told is decided when it is asked for, by who shares a
room then: so nothing has to be stored when people come and go, and nothing can go stale.

Spec: client-server-api/#tracking-the-device-list-for-a-user
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from conduit_py.data import announcements, device_lists, members, short_ids
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.sync_token import SyncToken
from conduit_py.service.bell import Bell
from conduit_py.service.e2ee.sharing import (
    Sharing,
    get_rooms,
    scan_local_sharing,
    scan_sharing,
    scan_sharing_with_remote,
)
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

CROSS_SIGNING: Final = ""
"""What changed is none of a user's devices."""


@dataclass(frozen=True, slots=True)
class Changes:
    """User ids, sorted."""

    changed: list[UserId]
    left: list[UserId]


NO_CHANGES = Changes([], [])


class DeviceLists:
    """Notes changes. One per server.

    :param has_announcements: rung when there is something to tell other servers, None while none is talked to.
    """

    def __init__(self, store: Store, hub: SyncHub, has_announcements: Bell | None) -> None:
        self._store = store
        self._hub = hub
        self._has_announcements = has_announcements
        self._noted: set[tuple[Turn, ShortUserId, str | None]] = set()
        """What turns that have not settled have noted: a turn does not see what it staged itself."""

    def stage_changed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, what: str) -> None:
        """Tell everybody who shares a room with this user, which is a local one. Under the account's lock.

        :param what: a device id, or ``CROSS_SIGNING``.
        """
        if self._has_announcements is None:
            announcements.stage_stream_forgotten(turn, user)
        elif self._is_first(turn, user, what):
            announcements.stage_announcement(turn, user, what)
            turn.on_landed(self._has_announcements.ring)
        if self._is_first(turn, user, None):
            self._stage_told(snapshot, turn, user, scan_local_sharing(snapshot, user))

    def stage_remote_changed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId) -> None:
        """The same for a user of another server. Once in a turn, and under the lock of the server's lists."""
        self._stage_told(snapshot, turn, user, scan_sharing_with_remote(snapshot, user))

    def _stage_told(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, woken: Collection[ShortUserId]) -> None:
        device_lists.stage_changed(snapshot, turn, user)
        turn.on_landed(lambda: self._hub.publish(woken))

    def _is_first(self, turn: Turn, user: ShortUserId, what: str | None) -> bool:
        noted = (turn, user, what)
        if noted in self._noted:
            return False
        self._noted.add(noted)
        turn.on_settled(lambda: self._noted.discard(noted))
        return True

    def stage_signed(self, snapshot: Snapshot, turn: Turn, signer: ShortUserId, owner: ShortUserId) -> None:
        """Tell the other devices of ``signer``. Once in a turn for each owner, and under the account's lock."""
        device_lists.stage_signed(snapshot, turn, signer, owner)
        turn.on_landed(lambda: self._hub.publish([signer]))

    def get_changes(self, requester: Requester, since: SyncToken) -> Changes:
        """What has changed from a token until now."""
        with self._store.snapshot() as snapshot:
            if snapshot.is_from_lost_future(since.pos):
                return read_everybody(snapshot, requester.user)
            moved = members.scan_changes(snapshot, requester.user, after=since.pos, until=snapshot.pos)
            rooms = get_rooms(snapshot, requester.user).union(change.room for _, change in moved)
            return read_changes(snapshot, requester.user, rooms, since=since.pos, until=snapshot.pos)


def read_changes(
    snapshot: Snapshot,
    user: ShortUserId,
    rooms_with_news: Collection[ShortRoomId],
    *,
    since: int,
    until: int,
) -> Changes:
    """Past ``since`` up to ``until``, which must be the snapshot's position.

    Nothing happened in the user's other rooms than those with news, and the user came to and went from no others.
    """
    changed = set(device_lists.scan_signed(snapshot, user, after=since, until=until))
    others = list(device_lists.scan_changed(snapshot, after=since, until=until))
    if not (others or rooms_with_news):
        return _name(snapshot, changed, set()) if changed else NO_CHANGES
    sharing = Sharing(snapshot, user, rooms_with_news, since=since, until=until)
    for other in others:
        if other == user or sharing.shares_now(other):
            changed.add(other)
    left = set()
    for other in sharing.find_moved():
        was_there, is_there = sharing.compare(other)
        if is_there and not was_there:
            changed.add(other)
        elif was_there and not is_there:
            left.add(other)
    return _name(snapshot, changed, left) if changed or left else NO_CHANGES


def read_everybody(snapshot: Snapshot, user: ShortUserId) -> Changes:
    """For a client whose lists are of a history that is gone."""
    return _name(snapshot, scan_sharing(snapshot, user), set())


def _name(snapshot: Snapshot, changed: set[ShortUserId], left: set[ShortUserId]) -> Changes:
    named = [sorted(short_ids.get_user_id(snapshot, user) for user in users) for users in (changed, left)]
    return Changes(*named)
