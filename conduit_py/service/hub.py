"""Who waits for what: wakes /sync requests after a commit, in commit order.

Wake-ups are hints. A waiter subscribes first, reads a snapshot, and waits only if there was nothing to tell; woken, it
reads again. A lost or doubled hint costs time, never an event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import trio

from conduit_py.service.news import Messages, RoomNews
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortRoomId, ShortUserId, StateId

WAVE = 32
"""Long-polls woken at once, of which each takes about 0.1 ms until it is answered. trio runs tasks breadth first: woken
together, thousands would keep everybody else waiting."""
WAVE_PAUSES = 4
"""Rounds of the scheduler that a wave gets before the next, about what it takes to build one answer and write it."""


class Waiter:
    """A request that waits for one user. Made by ``SyncHub.subscribe``, for a ``with`` block."""

    __slots__ = ("_has_other", "_is_woken", "_messages", "_pos", "_rooms", "_stopping", "_user", "_waiters", "event")

    def __init__(self, waiters: dict[ShortUserId, set[Waiter]], user: ShortUserId, stopping: trio.Event) -> None:
        self._waiters = waiters
        self._user = user
        self._stopping = stopping
        self._clear()

    def __enter__(self) -> Waiter:
        self._waiters.setdefault(self._user, set()).add(self)
        return self

    def __exit__(self, *_: object) -> None:
        waiters = self._waiters[self._user]
        waiters.discard(self)
        if not waiters:
            del self._waiters[self._user]

    def _clear(self) -> None:
        self.event = trio.Event()
        self._rooms: dict[ShortRoomId, int] = {}
        self._pos = 0
        self._messages: Messages | None = None
        self._has_other = self._is_woken = False

    def rearm(self) -> RoomNews | None:
        """Call before reading a snapshot, then ``wait``. None if what woke the waiter may be anything."""
        is_known = self._rooms and not self._has_other
        news = RoomNews(self._rooms, self._pos, self._messages) if is_known else None
        self._clear()
        if self._stopping.is_set():
            self.event.set()
        return news

    async def wait(self) -> None:
        await self.event.wait()

    def note(self, news: RoomNews | None) -> bool:
        """Something may be new. True the first time since the waiter was armed."""
        if news is None:
            self._has_other = True
        else:
            self._messages = None if self._rooms else news.messages
            for room, after in news.rooms.items():
                self._rooms.setdefault(room, after)
            self._pos = news.pos
        is_first, self._is_woken = not self._is_woken, True
        return is_first


class SyncHub:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self) -> None:
        self._waiters: dict[ShortUserId, set[Waiter]] = {}
        self._woken: deque[trio.Event] = deque()
        self._in_wave = 0
        """So many may be at work. Counted until it is half a wave or more, so that a few cost nothing."""
        self._kick = trio.Event()
        self._room_pos: dict[ShortRoomId, int] = {}
        self._room_state: dict[ShortRoomId, StateId] = {}
        self._stopping = trio.Event()

    def subscribe(self, user: ShortUserId) -> Waiter:
        """Be woken for this user. Arm the waiter before reading a snapshot, then wait."""
        return Waiter(self._waiters, user, self._stopping)

    @property
    def is_stopping(self) -> bool:
        """Long-polls should answer at once with what they have."""
        return self._stopping.is_set()

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return sum(map(len, self._waiters.values()))

    def publish(self, users: Iterable[ShortUserId], news: RoomNews | None = None) -> None:
        """Something may be new for these users: what ``news`` says, or anything."""
        find, woken = self._waiters.get, self._woken
        for user in users:
            for waiter in find(user, ()):
                if waiter.note(news):
                    woken.append(waiter.event)
        self._wake_wave()
        if woken or self._in_wave >= WAVE // 2:
            self._kick.set()

    def stage_events(
        self, turn: Turn, room: ShortRoomId, users: Iterable[ShortUserId], *, state: StateId, messages: Messages | None
    ) -> None:
        """``stage_room`` for events, after which the room is in ``state``; ``messages`` if they are nothing else.

        The states that rooms were in when something of them was told last are kept for as many rooms as positions are.
        """
        is_as_before = self._room_state.get(room) == state
        self._room_state[room] = state
        self.stage_room(turn, room, users, messages if is_as_before else None)

    def stage_room(
        self, turn: Turn, room: ShortRoomId, users: Iterable[ShortUserId], messages: Messages | None = None
    ) -> None:
        """What was staged so far is about a room and may be seen by these users: wake them when it has landed.

        The room's position moves at once. A snapshot may show a batch before its ``on_landed`` has run, and whoever
        took such a snapshot must not be told that nothing in the room is newer than it was.
        """
        news = self._note_room(room, turn.pos, messages)

        def publish() -> None:
            # There are many of them, and one who made the news.
            turn.gives_way |= not self._waiters.keys().isdisjoint(users)
            self.publish(users, news)

        turn.on_landed(publish)

    def publish_room(self, room: ShortRoomId, pos: int, users: Iterable[ShortUserId]) -> None:
        """Something landed in a room at ``pos`` that these users may see. For what was not staged in a turn."""
        self._note_room(room, pos)
        self.publish(users)

    def _note_room(self, room: ShortRoomId, pos: int, messages: Messages | None = None) -> RoomNews | None:
        before = self._room_pos.get(room)
        if before is None or pos > before:
            self._room_pos[room] = pos
        return None if before is None else RoomNews({room: before}, pos, messages)

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
            for waiter in waiters:
                waiter.event.set()

    def _wake_wave(self) -> None:
        count = min(WAVE - self._in_wave, len(self._woken))
        self._in_wave += count
        for _ in range(count):
            self._woken.popleft().set()

    async def run(self) -> None:
        """Wakes long-polls in waves for as long as the server runs."""
        while True:
            await self._kick.wait()
            while self._woken or self._in_wave:
                for _ in range(WAVE_PAUSES):
                    await trio.lowlevel.checkpoint()
                self._in_wave = 0
                self._wake_wave()
            self._kick = trio.Event()
