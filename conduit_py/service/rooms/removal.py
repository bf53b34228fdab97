"""Removing a room from this server, history and all.

It takes as long as it takes, while everything else goes on, in steps of which each can be cut off and begun again:

1. The room is closed: nothing but leaving is possible. From here on the removal goes on after a restart.
2. Local users leave as they would by themselves, so that other servers hear of it. Who cannot is taken out in step 4.
3. What is queued for other servers in the room is waited for, as long as they listen.
4. The room is cut off: nothing leads to it any more, neither its id nor the lists of its users nor the ids of its
   events. Clients that were away get the event by which their user left from what is kept for them.
5. Whoever was reading it has time to finish.
6. Everything that is about the room goes, in batches, those rows last that tell whether others are about it.

Short ids of users and of state keys stay: they say nothing about who used them where.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from typing import Any, Final

import trio

from conduit_py.data import closed, members, sending, short_ids
from conduit_py.data.room_removal import (
    SCANNED_MAX,
    stage_cut_off,
    stage_some_dismissed,
    stage_some_hidden,
    stage_some_removed,
)
from conduit_py.data.room_rows import (
    EVENT_IDS,
    MEMBERSHIPS,
    ROOM_ROWS,
    WAYS_IN,
    OneRoom,
    RowsOfRooms,
    get_room_of_event,
)
from conduit_py.log import get_logger
from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.service.errors import MatrixError, NotFound
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.closed import require_not_admin_room
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.appservices import APPSERVICEIDPOS_EVENT
from kvschema.catalog.members import INVITE, JOIN, KNOCK, USERPOS_MEMBERSHIPCHANGE
from kvschema.catalog.rooms import RemovedRoom, ShortRoomId, ShortUserId
from kvschema.errors import StorageFull

_log = get_logger(__name__)

PAUSE_S: Final = 0.01
"""Between two batches: a removal takes no more than a part of the disk's time."""
GRACE_S: Final = 120.0
"""Whoever was reading the room when it was cut off has finished by then."""
TOLD_S: Final = 600.0
"""How long other servers have to fetch what tells them that everybody has left."""
TOLD_POLL_S: Final = 1.0
SERVERS_AT_ONCE: Final = 100
"""Queues that are looked at in one go."""
LEAVING_AT_ONCE: Final = 8
ROOMS_AT_ONCE: Final = 100
"""Most of the time is spent waiting, for other servers and for readers."""
RETRY_S: Final = 60.0
"""After a full disk."""

StageSome = Callable[[Snapshot, Turn, Any], Any]
"""Stages one batch, from a key on, and returns the key to go on after, None at the end."""
LeaveRoom = Callable[[Requester, RoomId], Awaitable[None]]


class RoomRemoval:
    """One per server. ``run`` is owned by the nursery tree.

    :param leave_room: takes a user out of a room, or out of the invitation to it.
    :param forget_room: told of a room that is not there any more.
    :param is_failing: whether a server could not be reached when it was tried last.
    :param note_unqueued: told how many events do not wait for an application service any more.
    """

    def __init__(
        self,
        store: Store,
        hub: SyncHub,
        *,
        leave_room: LeaveRoom,
        forget_room: Callable[[ShortRoomId], None],
        is_failing: Callable[[ServerName], bool],
        note_unqueued: Callable[[str, int], None],
    ) -> None:
        self._store = store
        self._hub = hub
        self._leave_room = leave_room
        self._forget_room = forget_room
        self._is_failing = is_failing
        self._note_unqueued = note_unqueued
        self._has_work = trio.Event()
        self._has_ended = trio.Event()
        self._going: set[RoomId] = set()
        self._work = trio.Lock()

    async def begin(self, room_id: RoomId) -> bool:
        """Have a room removed. False if that is going on already.

        Raises ``NotFound`` for one that is not known, and ``Forbidden`` for the Admin Room.
        """
        async with self._store.locks.hold(("room", room_id)), self._store.writer.turn(may_use_reserve=True) as turn:
            with self._store.snapshot() as snapshot:
                require_not_admin_room(snapshot, room_id)
                if closed.get_removed(snapshot, room_id) is not None:
                    return False
                room = short_ids.get_room(snapshot, room_id)
            if room is None:
                raise NotFound(f"There is no room {room_id} on this server")
            closed.stage_removed(turn, room_id, RemovedRoom(room, self._store.now_ms()))
            turn.on_landed(self._has_work.set)
        return True

    async def wait_until_removed(self, room_id: RoomId) -> None:
        """Return when the room is not being removed, or not any more."""
        while True:
            has_ended = self._has_ended
            with self._store.snapshot() as snapshot:
                if closed.get_removed(snapshot, room_id) is None:
                    return
            await has_ended.wait()

    async def run(self) -> None:
        """Removes rooms for as long as the server runs, what the last run left unfinished too."""
        async with trio.open_nursery() as nursery:
            while True:
                self._has_work = trio.Event()
                with self._store.snapshot() as snapshot:
                    todo = (room_id for room_id, _ in closed.scan_removed(snapshot) if room_id not in self._going)
                    begun = list(islice(todo, ROOMS_AT_ONCE - len(self._going)))
                for room_id in begun:
                    self._going.add(room_id)
                    nursery.start_soon(self._attempt, room_id)
                await self._has_work.wait()

    async def _attempt(self, room_id: RoomId) -> None:
        try:
            with self._store.snapshot() as snapshot:
                row = closed.get_removed(snapshot, room_id)
            if row is not None:
                await self._remove(OneRoom(row.room, room_id), row)
        except StorageFull:
            await trio.sleep(RETRY_S)
        finally:
            self._going.discard(room_id)
            self._has_work.set()

    async def _remove(self, room: OneRoom, row: RemovedRoom) -> None:
        _log.info("removing a room", room=room.room_id, is_cut_off=row.is_cut_off)
        if not row.is_cut_off:
            await self._have_all_leave(room)
            with trio.move_on_after(TOLD_S):
                await self._wait_until_told(room)
            await self._cut_off(room, row)
        self._forget_room(room.room)
        removed = await self._hide(room)
        await trio.sleep(GRACE_S)
        for rows in ROOM_ROWS:
            if rows is not EVENT_IDS:  # Each goes with its event.
                removed += await self._work_through(self._remove_rows(rows, room))
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            closed.stage_removed(turn, room.room_id, None)
        self._has_ended.set()
        self._has_ended = trio.Event()
        _log.info("a room was removed", room=room.room_id, writes=removed)

    # Leaving.

    async def _have_all_leave(self, room: OneRoom) -> None:
        limiter = trio.CapacityLimiter(LEAVING_AT_ONCE)

        async def leave(user: ShortUserId) -> None:
            with self._store.snapshot() as snapshot:
                user_id = short_ids.get_user_id(snapshot, user)
            async with limiter:
                try:
                    await self._leave_room(Requester(user_id=user_id, user=user, device_id=None), room.room_id)
                except (MatrixError, StorageFull) as error:
                    # On a full disk too: this is what makes room.
                    _log.warning("a user is taken out of a room", user_id=user_id, room=room.room_id, why=error)

        async with trio.open_nursery() as nursery:
            for user in await self._find_those_in(room):
                nursery.start_soon(leave, user)

    async def _find_those_in(self, room: OneRoom) -> list[ShortUserId]:
        """Local users who are in the room, invited to it or knocking."""
        found: list[ShortUserId] = []
        after: Any = None
        while True:
            with self._store.snapshot() as snapshot:
                rows = list(islice(MEMBERSHIPS.scan(snapshot, room, after=after), SCANNED_MAX))
            found += [key.user for key, _, is_about in rows if is_about and key.kind in (JOIN, INVITE, KNOCK)]
            if len(rows) < SCANNED_MAX:
                return found
            after = rows[-1][0]
            await trio.lowlevel.checkpoint()

    async def _wait_until_told(self, room: OneRoom) -> None:
        with self._store.snapshot() as snapshot:
            servers = list(members.scan_servers(snapshot, room.room))
        while servers:
            waiting: list[ServerName] = []
            for start in range(0, len(servers), SERVERS_AT_ONCE):
                with self._store.snapshot() as snapshot:
                    some = servers[start : start + SERVERS_AT_ONCE]
                    waiting += [name for name in some if self._is_listening(snapshot, room, name)]
                await trio.lowlevel.checkpoint()
            servers = waiting
            if servers:
                await trio.sleep(TOLD_POLL_S)

    def _is_listening(self, snapshot: Snapshot, room: OneRoom, server_name: ServerName) -> bool:
        """Does something about the room wait for the server, and does it take what it is sent?"""
        if self._is_failing(server_name):
            return False
        queued = sending.scan_events(snapshot, server_name)
        return any(get_room_of_event(snapshot, event) == room.room for _, event in queued)

    # Taking it out of the store.

    async def _cut_off(self, room: OneRoom, row: RemovedRoom) -> None:
        async with (
            self._store.locks.hold(("room", room.room_id)),
            self._store.writer.turn(may_use_reserve=True) as turn,
        ):
            stage_cut_off(turn, room, row)

    async def _hide(self, room: OneRoom) -> int:
        """Let nobody come upon the room who has not begun yet."""
        hidden = 0
        for rows in WAYS_IN:
            is_membership = rows.tree is USERPOS_MEMBERSHIPCHANGE
            stage = self._dismiss(rows, room) if is_membership else self._remove_rows(rows, room)
            hidden += await self._work_through(stage)
        return hidden + await self._work_through(
            lambda snapshot, turn, after: stage_some_hidden(snapshot, turn, room, after)
        )

    def _dismiss(self, rows: RowsOfRooms, room: OneRoom) -> StageSome:
        def stage(snapshot: Snapshot, turn: Turn, after: Any) -> Any:
            next_, users = stage_some_dismissed(snapshot, turn, rows, room, after, self._store.now_ms())
            turn.on_landed(lambda: self._hub.publish(users))
            return next_

        return stage

    def _remove_rows(self, rows: RowsOfRooms, room: OneRoom) -> StageSome:
        def stage(snapshot: Snapshot, turn: Turn, after: Any) -> Any:
            next_ = stage_some_removed(snapshot, turn, rows, room, after)
            if rows.tree is APPSERVICEIDPOS_EVENT:
                keys = [rows.tree.key.decode(write.key) for write in turn.batch.writes]
                for appservice_id, count in Counter(key.appservice_id for key in keys).items():
                    turn.on_landed(partial(self._note_unqueued, appservice_id, count))
            return next_

        return stage

    async def _work_through(self, stage: StageSome) -> int:
        """Stage batch after batch. Returns how much was written."""
        writes, after, is_done = 0, None, False
        while not is_done:
            async with self._work:  # Rooms wait side by side, and take turns at the disk.
                async with self._store.writer.turn(may_use_reserve=True) as turn:
                    with self._store.snapshot() as snapshot:
                        after = stage(snapshot, turn, after)
                writes += len(turn.batch.writes)
                is_done = after is None
                await trio.sleep(PAUSE_S)
        return writes
