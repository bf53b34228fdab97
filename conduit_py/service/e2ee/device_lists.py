"""Who is told that somebody's devices or cross-signing keys changed.

Of each user only the last change is kept. Whether a change is told is decided when it is asked for, by who shares a
room then: so nothing has to be stored when people come and go, and nothing can go stale.

Spec: client-server-api/#tracking-the-device-list-for-a-user
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

import trio

from conduit_py.data import announcements, device_lists, members, short_ids
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.sync_token import SyncToken
from conduit_py.service.bell import Bell
from conduit_py.service.e2ee.sharing import (
    Sharing,
    get_rooms,
    scan_local_sharing,
    scan_sharing_with_remote,
)
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.members import RoomMember
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

CROSS_SIGNING: Final = ""
"""What changed is none of a user's devices."""
USERS_AT_ONCE: Final = 150
"""Members of rooms who are looked at between two steps of the event loop: about 10 ms."""


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

    async def get_changes(self, requester: Requester, since: SyncToken) -> Changes:
        """What has changed from a token until now."""
        with self._store.snapshot() as snapshot:
            reading: Reading
            if snapshot.is_from_lost_future(since.pos):
                reading = ReadEverybody(snapshot, requester.user)
            else:
                moved = members.scan_changes(snapshot, requester.user, after=since.pos, until=snapshot.pos)
                rooms = get_rooms(snapshot, requester.user).union(change.room for _, change in moved)
                reading = ReadChanges(snapshot, requester.user, rooms, since=since.pos, until=snapshot.pos)
        while not reading.is_done:
            await trio.lowlevel.checkpoint()
            with self._store.snapshot() as snapshot:
                reading.go_on(snapshot)
        return reading.changes


class Reading(ABC):
    """Whose devices a client has to ask about, read in slices: ``go_on``, in later snapshots, until it ``is_done``."""

    def __init__(self, snapshot: Snapshot, user: ShortUserId) -> None:
        self._user = user
        self._changed: set[ShortUserId] = set()
        self._left: set[ShortUserId] = set()
        self._names: dict[ShortUserId, UserId] = {}
        self._sharing: Sharing | None = None
        self._steps = self._read()
        self.is_done = False
        self.go_on(snapshot)

    def go_on(self, snapshot: Snapshot) -> None:
        """Do as much as is done at once."""
        self._snapshot = snapshot
        self._looked_at = 0
        if self._sharing is not None:
            self._sharing.go_on(snapshot)
        self.is_done = next(self._steps, True) is not None

    @property
    def changes(self) -> Changes:
        """None as long as it is not done."""
        if not self.is_done or not (self._changed or self._left):
            return NO_CHANGES
        named = [sorted(self._names[user] for user in users) for users in (self._changed, self._left)]
        return Changes(*named)

    @abstractmethod
    def _read(self) -> Iterator[None]:
        """Yields wherever it is enough for one step."""

    def _is_enough(self, more: int) -> bool:
        self._looked_at += more
        return self._looked_at >= USERS_AT_ONCE

    def _name(self, users: Iterable[ShortUserId]) -> None:
        for user in users:
            self._names[user] = short_ids.get_user_id(self._snapshot, user)

    def _scan_pages(self, rooms: Iterable[ShortRoomId]) -> Iterator[Sequence[ShortUserId]]:
        """The members of rooms, of whom the next are read when they are asked for."""
        for room in rooms:
            last: RoomMember | None = None
            while True:
                page = list(islice(members.scan_joined_after(self._snapshot, room, last), USERS_AT_ONCE))
                yield [key.user for key in page]
                if len(page) < USERS_AT_ONCE:
                    break
                last = page[-1]


class ReadChanges(Reading):
    """What changed past ``since`` up to ``until``, which must be the first snapshot's position.

    Nothing happened in the user's other rooms than those with news, and the user came to and went from no others.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        user: ShortUserId,
        rooms_with_news: Collection[ShortRoomId],
        *,
        since: int,
        until: int,
    ) -> None:
        self._rooms_with_news = rooms_with_news
        self._since, self._until = since, until
        self._seen = {user}
        super().__init__(snapshot, user)

    def _read(self) -> Iterator[None]:
        span = {"after": self._since, "until": self._until}
        self._changed.update(device_lists.scan_signed(self._snapshot, self._user, **span))
        others = list(device_lists.scan_changed(self._snapshot, **span))
        if others or self._rooms_with_news:
            yield from self._read_rooms(others)
        self._name((self._changed | self._left) - self._names.keys())

    def _read_rooms(self, others: Sequence[ShortUserId]) -> Iterator[None]:
        self._sharing = sharing = Sharing(
            self._snapshot, self._user, self._rooms_with_news, since=self._since, until=self._until
        )
        for looked_at in sharing.find_changed():
            if self._is_enough(looked_at):
                yield
        self._changed.update(other for other in others if other == self._user or sharing.shares_now(other))
        moved = list(sharing.get_changed())
        portions = (moved[start : start + USERS_AT_ONCE] for start in range(0, len(moved), USERS_AT_ONCE))
        for page in chain(portions, self._scan_pages(sharing.moved)):
            self._compare(sharing, page)
            if self._is_enough(len(page)):
                yield

    def _compare(self, sharing: Sharing, others: Iterable[ShortUserId]) -> None:
        for other in others:
            if other in self._seen:
                continue
            self._seen.add(other)
            was_there, is_there = sharing.compare(other)
            if was_there != is_there:
                (self._changed if is_there else self._left).add(other)
                self._name([other])


class ReadEverybody(Reading):
    """For a client whose lists are of a history that is gone."""

    def _read(self) -> Iterator[None]:
        for page in chain([[self._user]], self._scan_pages(get_rooms(self._snapshot, self._user))):
            self._changed.update(page)
            self._name(page)
            if self._is_enough(len(page)):
                yield
