"""Who is typing where. In memory only: a restart forgets it, and clients forget it by themselves.

Every change moves one counter, and a room remembers what the counter was at its last change. A sync token carries the
counter, so a sync finds out what it has not told yet by looking at few numbers.

Spec: client-server-api/#typing-notifications
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

from conduit_py.data import members
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.write import require_joined
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

USERS_PER_ROOM_MAX = 100
"""Beyond that nobody reads the list, and a remote server could fill memory with names."""


@dataclass(slots=True)
class _Room:
    changed: int = 0
    until: dict[UserId, float] = field(default_factory=dict)
    """When each user stops typing unless they go on, by trio's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypingLimits:
    """How long one notification lasts, in seconds."""

    min_s: int
    max_s: int


class TypingService:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self, database: Database, hub: SyncHub, limits: TypingLimits, *, boot: str) -> None:
        self._database = database
        self._hub = hub
        self._limits = limits
        self._rooms: dict[ShortRoomId, _Room] = {}
        self._earlier = trio.Event()
        self.boot = boot
        """Names this run of the server, letters and digits: what another run counted means nothing here."""
        self.changes = 0
        """The counter."""

    def set_typing(
        self, requester: Requester, room_id: RoomId, user_id: str, *, is_typing: bool, timeout_ms: int | None
    ) -> None:
        """Raises ``Forbidden`` for somebody else's typing and for rooms that the requester is not joined to."""
        requester.require_self(user_id, "set the typing notifications")
        with self._database.snapshot() as snapshot:
            room = require_joined(snapshot, requester, room_id).short
        if not is_typing:
            self.stop(room, requester.user_id)
            return
        wanted = math.inf if timeout_ms is None else timeout_ms / 1000
        self.start(room, requester.user_id, min(max(wanted, self._limits.min_s), self._limits.max_s))

    def start(self, room: ShortRoomId, user_id: UserId, timeout_s: float) -> None:
        """The user types for so long, unless more is heard."""
        typing = self._rooms.setdefault(room, _Room())
        is_new = user_id not in typing.until
        if is_new and len(typing.until) >= USERS_PER_ROOM_MAX:
            return
        typing.until[user_id] = trio.current_time() + timeout_s
        self._earlier.set()
        if is_new:
            self._note_change(room, typing)

    def stop(self, room: ShortRoomId, user_id: UserId) -> None:
        """The user stopped typing, sent what was typed, or left."""
        typing = self._rooms.get(room)
        if typing is not None and typing.until.pop(user_id, None) is not None:
            self._note_change(room, typing)

    def get_typing(self, room: ShortRoomId) -> list[UserId]:
        """Who is typing, first come first."""
        typing = self._rooms.get(room)
        return [] if typing is None else list(typing.until)

    def get_changed(self, since: int) -> Iterator[ShortRoomId]:
        """Rooms in which something changed after the counter stood at ``since``."""
        if since < self.changes:
            for room, typing in self._rooms.items():
                if typing.changed > since:
                    yield room

    def _note_change(self, room: ShortRoomId, typing: _Room) -> None:
        self.changes += 1
        typing.changed = self.changes
        with self._database.snapshot() as snapshot:
            users = _local_joined(snapshot, room)
        self._hub.publish(users)

    async def run(self) -> None:
        """Lets typing end in time, for as long as the server runs."""
        while True:
            self._earlier = trio.Event()
            with trio.move_on_at(self._expire()):
                await self._earlier.wait()

    def _expire(self) -> float:
        """End what is over; returns when to look again."""
        now, soonest = trio.current_time(), math.inf
        for room, typing in self._rooms.items():
            over = [user_id for user_id, until in typing.until.items() if until <= now]
            for user_id in over:
                del typing.until[user_id]
            if over:
                self._note_change(room, typing)
            soonest = min((soonest, *typing.until.values()))
        return soonest


def _local_joined(snapshot: Snapshot, room: ShortRoomId) -> list[ShortUserId]:
    return [user for user, _ in members.scan_members(snapshot, room, JOIN, local_only=True)]
