"""The way every write to a room goes: lock, turn, snapshot, decide, stage, commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from conduit_py.data import members, rooms, short_ids
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.service.errors import Forbidden
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import Append, RoomAppend
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import Turn, Writer

T = TypeVar("T")
Stage = Callable[[Snapshot, Turn, RoomAppend], T]
"""Reads, decides and stages, without awaiting. What it raises leaves no trace."""


class RoomWrites:
    """Runs writes to rooms, one at a time for each room. One per server."""

    def __init__(self, database: Database, writer: Writer, locks: KeyedLocks, append: Append) -> None:
        self._database = database
        self._writer = writer
        self._locks = locks
        self.append = append

    async def write(self, room_id: RoomId, stage: Stage[T]) -> T:
        """Return what ``stage`` returned, once all it staged is on disk.

        Raises ``Forbidden`` for a room we do not hold: nobody here is in it, and nobody is told whether it exists.
        """
        async with self._locks.hold(("room", room_id)), self._writer.turn() as turn:
            with self._database.snapshot() as snapshot:
                room = rooms.get_room(snapshot, room_id)
                if room is None:
                    raise Forbidden(f"nobody on this server is in {room_id}")
                append = self.append.begin(snapshot, turn, room)
                result = stage(snapshot, turn, append)
                append.finish()
        return result

    async def create(self, creator: UserId, stage: Callable[[Snapshot, Turn], RoomAppend]) -> RoomId:
        """Write a room that ``stage`` begins. One at a time for each creator, so that the next sees that it is there.

        Nobody else can know the room's id yet.
        """
        async with self._locks.hold(("create", creator)), self._writer.turn() as turn:
            with self._database.snapshot() as snapshot:
                append = stage(snapshot, turn)
                append.finish()
        return append.room.room_id


def require_joined(snapshot: Snapshot, requester: Requester, room_id: RoomId) -> rooms.Room:
    """The room, which the requester must be joined to. The answer does not tell whether there is such a room."""
    short = short_ids.get_room(snapshot, room_id)
    if short is not None and members.is_joined(snapshot, requester.user, short):
        room = rooms.get_room(snapshot, room_id)
        if room is not None:
            return room
    raise Forbidden(f"{requester.user_id} is not joined to {room_id}")
