"""Who is typing where. In memory only: a restart forgets it, and clients forget it by themselves.

Every change moves one counter, and a room remembers what the counter was at its last change. A sync token carries the
counter, so a sync finds out what it has not told yet by looking at few numbers.

Spec: client-server-api/#typing-notifications
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from conduit_py.data import members, short_ids
from conduit_py.data.closed import get_closed
from conduit_py.data.digest import digest
from conduit_py.matrix.edus import Typing, build_typing, parse_typing
from conduit_py.matrix.ids import RoomId, ServerName, UserId
from conduit_py.service.appservices.ephemeral import AppServiceEphemeral
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.write import require_joined
from conduit_py.service.sending.outbox import Outbox
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

TOLD_AGAIN_S = 10.0
"""Other servers forget who types where, and are told anew while it lasts; not at every key stroke."""
TOLD_MS = 30_000
"""An older notification is not worth sending."""
USERS_PER_ROOM_MAX = 100
"""Beyond that nobody reads the list, and a remote server could fill memory with names."""


@dataclass(slots=True)
class _Room:
    """In which somebody types."""

    until: dict[UserId, float] = field(default_factory=dict)
    """When each user stops typing unless they go on, by trio's clock."""
    told: dict[UserId, float] = field(default_factory=dict)
    """When other servers were last told that a user of ours types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypingLimits:
    """How long one notification lasts, in seconds."""

    min_s: int
    max_s: int
    remote_s: int
    """Of a user of another server."""


class TypingService:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(
        self,
        database: Database,
        hub: SyncHub,
        outbox: Outbox,
        ephemeral: AppServiceEphemeral,
        limits: TypingLimits,
        *,
        boot: str,
    ) -> None:
        self._database = database
        self._hub = hub
        self._outbox = outbox
        self._ephemeral = ephemeral
        self._limits = limits
        self._rooms: dict[ShortRoomId, _Room] = {}
        self._changed: dict[ShortRoomId, int] = {}
        """What the counter was at the last change of each room, the latest at the end. 100 bytes for every room."""
        self._earlier = trio.Event()
        self.boot = boot
        """Names this run of the server, letters and digits: what another run counted means nothing here."""
        self.changes = 0
        """The counter."""

    def __len__(self) -> int:
        """In how many rooms somebody types."""
        return len(self._rooms)

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
        self._tell_again(room, room_id, requester.user_id)

    async def receive(self, origin: ServerName, content: Mapping[str, Any]) -> None:
        """What another server says of a user of its own. Raises ``Malformed``.

        Spec: server-server-api/#typing-notifications
        """
        said = parse_typing(content, origin)
        with self._database.snapshot() as snapshot:
            room, user = short_ids.get_room(snapshot, said.room_id), short_ids.get_user(snapshot, said.user_id)
            if room is None or user is None or not members.is_remote_joined(snapshot, user, room):
                return
        if said.typing:
            self.start(room, said.user_id, self._limits.remote_s)
        else:
            self.stop(room, said.user_id)

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
            self._tell_end(room, typing, user_id)
            self._note_change(room, typing)

    def forget_room(self, room: ShortRoomId) -> None:
        """The room is not there any more."""
        self._rooms.pop(room, None)
        self._changed.pop(room, None)

    def get_typing(self, room: ShortRoomId) -> list[UserId]:
        """Who is typing, first come first."""
        typing = self._rooms.get(room)
        return [] if typing is None else list(typing.until)

    def get_changed(self, since: int) -> Iterator[ShortRoomId]:
        """Rooms in which something changed after the counter stood at ``since``."""
        for room, changed in reversed(self._changed.items()):
            if changed <= since:
                return
            yield room

    def _tell_again(self, room: ShortRoomId, room_id: RoomId, user_id: UserId) -> None:
        """Tell the other servers that a user of ours types, unless they heard it just now."""
        typing, now = self._rooms.get(room), trio.current_time()
        if typing is None or user_id not in typing.until or now - typing.told.get(user_id, -math.inf) < TOLD_AGAIN_S:
            return
        typing.told[user_id] = now
        self._tell(room, Typing(room_id=room_id, user_id=user_id, typing=True))

    def _tell_end(self, room: ShortRoomId, typing: _Room, user_id: UserId) -> None:
        if typing.told.pop(user_id, None) is not None:
            with self._database.snapshot() as snapshot:
                room_id = RoomId(short_ids.get_room_record(snapshot, room).room_id)
            self._tell(room, Typing(room_id=room_id, user_id=user_id, typing=False))

    def _tell(self, room: ShortRoomId, typing: Typing) -> None:
        with self._database.snapshot() as snapshot:
            if get_closed(snapshot, typing.room_id) is not None:
                return
            servers = list(members.scan_servers(snapshot, room))
        name = digest("typing", typing.room_id, typing.user_id)
        self._outbox.pass_on(servers, build_typing(typing), replaces=name, lasts_ms=TOLD_MS)

    def next_change(self) -> int:
        """Moves the counter. Presence moves it too, so that a sync token knows of both."""
        self.changes += 1
        return self.changes

    def _note_change(self, room: ShortRoomId, typing: _Room) -> None:
        self._changed.pop(room, None)
        self._changed[room] = self.next_change()
        if not typing.until:
            del self._rooms[room]
        with self._database.snapshot() as snapshot:
            users = _local_joined(snapshot, room)
            self._ephemeral.note_typing(snapshot, room, typing.until, users)
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
        for room, typing in list(self._rooms.items()):
            over = [user_id for user_id, until in typing.until.items() if until <= now]
            for user_id in over:
                del typing.until[user_id]
                self._tell_end(room, typing, user_id)
            if over:
                self._note_change(room, typing)
            soonest = min((soonest, *typing.until.values()))
        return soonest


def _local_joined(snapshot: Snapshot, room: ShortRoomId) -> list[ShortUserId]:
    return [user for user, _ in members.scan_members(snapshot, room, JOIN, local_only=True)]
