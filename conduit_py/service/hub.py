"""Who waits for what: wakes /sync requests after a commit, in commit order.

Wake-ups are hints. A waiter subscribes first, reads a snapshot, and waits only if there was nothing to tell; woken, it
reads again. A lost or doubled hint costs time, never an event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import trio

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

WAVE = 16
"""Long-polls woken at once. trio runs tasks breadth first: woken together, thousands would all be answered last."""
WAVE_PAUSES = 4
"""Rounds of the scheduler that a wave gets before the next, about what it takes to build one answer and write it."""


class SyncHub:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self) -> None:
        self._waiters: dict[ShortUserId, set[trio.Event]] = {}
        self._woken: deque[trio.Event] = deque()
        self._kick = trio.Event()
        self._room_pos: dict[ShortRoomId, int] = {}
        self._stopping = trio.Event()

    @contextmanager
    def subscribe(self, user: ShortUserId) -> Iterator[Callable[[], trio.Event]]:
        """Be woken for this user. Call the result before reading a snapshot, then wait for the event it returns."""
        current: list[trio.Event] = []

        def rearm() -> trio.Event:
            event = trio.Event()
            waiters = self._waiters.setdefault(user, set())
            waiters.difference_update(current)
            current[:] = [event]
            waiters.add(event)
            if self._stopping.is_set():
                event.set()
            return event

        try:
            yield rearm
        finally:
            waiters = self._waiters.get(user)
            if waiters is not None:
                waiters.difference_update(current)
                if not waiters:
                    del self._waiters[user]

    @property
    def is_stopping(self) -> bool:
        """Long-polls should answer at once with what they have."""
        return self._stopping.is_set()

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return sum(map(len, self._waiters.values()))

    def publish(self, users: Iterable[ShortUserId]) -> None:
        """Something may be new for these users."""
        for user in users:
            self._woken.extend(self._waiters.get(user, ()))
        if len(self._woken) <= WAVE:
            self._wake_wave()
        else:
            self._kick.set()

    def stage_room(self, turn: Turn, room: ShortRoomId, users: Iterable[ShortUserId]) -> None:
        """What was staged so far is about a room and may be seen by these users: wake them when it has landed.

        The room's position moves at once. A snapshot may show a batch before its ``on_landed`` has run, and whoever
        took such a snapshot must not be told that nothing in the room is newer than it was.
        """
        self._note_room(room, turn.pos)
        turn.on_landed(lambda: self.publish(users))

    def publish_room(self, room: ShortRoomId, pos: int, users: Iterable[ShortUserId]) -> None:
        """Something landed in a room at ``pos`` that these users may see. For what was not staged in a turn."""
        self._note_room(room, pos)
        self.publish(users)

    def _note_room(self, room: ShortRoomId, pos: int) -> None:
        if pos > self._room_pos.get(room, 0):
            self._room_pos[room] = pos

    def get_room_pos(self, snapshot: Snapshot, room: ShortRoomId, read: Callable[[Snapshot, ShortRoomId], int]) -> int:
        """A position past which nothing changed in a room that ``snapshot`` shows. ``read`` finds it the first time.

        It may be higher than needed, never lower: a batch that was staged and refused costs one look in vain.
        Kept for every room that was asked for: 100 bytes each, bounded by the rooms of local users.
        """
        pos = self._room_pos.get(room)
        if pos is None:
            pos = self._room_pos[room] = read(snapshot, room)
        return pos

    def stop(self) -> None:
        """Wake everybody for the last time: the server is going down."""
        self._stopping.set()
        for waiters in self._waiters.values():
            for event in waiters:
                event.set()

    def _wake_wave(self) -> None:
        for _ in range(min(WAVE, len(self._woken))):
            self._woken.popleft().set()

    async def run(self) -> None:
        """Wakes long-polls in waves for as long as the server runs."""
        while True:
            await self._kick.wait()
            self._kick = trio.Event()
            while self._woken:
                self._wake_wave()
                for _ in range(WAVE_PAUSES):
                    await trio.lowlevel.checkpoint()
