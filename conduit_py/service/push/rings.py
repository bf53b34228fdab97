"""Of whom the sender must look whether there is something to push.

Only a hint: what there is stands in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from conduit_py.service.bell import Bell
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

Rooms = set[ShortRoomId] | None
"""Where something happened; None for anywhere."""


class PushRings:
    """One per server. ``users`` are those who have a pusher; everybody else costs nothing.

    Bounded by the users with pushers and the rooms they are in.
    """

    def __init__(self, users: Iterable[ShortUserId]) -> None:
        self._users = set(users)
        self._rung: dict[ShortUserId, Rooms] = dict.fromkeys(self._users)
        self._bell = Bell()
        self._bell.ring()

    def stage(self, turn: Turn, room: ShortRoomId, users: Set[ShortUserId]) -> None:
        """When the batch has landed, something that these users may be told of has happened in a room."""
        with_pushers = self._users & users
        if with_pushers:
            turn.on_landed(lambda: self._ring(with_pushers, room))

    def ring(self, user: ShortUserId) -> None:
        """The user has set a pusher."""
        self._users.add(user)
        self._rung[user] = None
        self._bell.ring()

    def forget(self, user: ShortUserId) -> None:
        """The user has no pusher any more."""
        self._users.discard(user)

    def _ring(self, users: Iterable[ShortUserId], room: ShortRoomId) -> None:
        for user in users:
            rooms = self._rung.setdefault(user, set())
            if rooms is not None:
                rooms.add(room)
        self._bell.ring()

    async def take(self) -> dict[ShortUserId, Rooms]:
        """Wait for a ring. Everybody that it is about, each once."""
        await self._bell.wait()
        rung, self._rung = self._rung, {}
        return rung
