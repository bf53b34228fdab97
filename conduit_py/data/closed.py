"""Rooms that this server has no part in because an administrator said so: disabled ones, and those being removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from conduit_py.matrix.ids import RoomId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import rooms
from kvschema.catalog.rooms import ByRoomId, DisabledRoom, RemovedRoom

_CACHED_BYTES = 150
DISABLED = "An administrator has disabled this room on this server"
REMOVED = "This room is being removed from this server"


def get_closed(snapshot: Snapshot, room_id: RoomId) -> str | None:
    """Why nobody takes part in the room from here, as a sentence; None where nothing stands against it."""
    cached = snapshot.cache.get(_cache_key(room_id), snapshot.pos)
    if cached is None:
        cached = _read_closed(snapshot, room_id)
        snapshot.cache.put(_cache_key(room_id), cached, _CACHED_BYTES, snapshot.pos)
    return cast("str", cached) or None


def _cache_key(room_id: RoomId) -> tuple[str, RoomId]:
    return "closed", room_id


def _read_closed(snapshot: Snapshot, room_id: RoomId) -> str:
    if get_removed(snapshot, room_id) is not None:
        return REMOVED
    return DISABLED if get_disabled(snapshot, room_id) is not None else ""


def get_disabled(snapshot: Snapshot, room_id: RoomId) -> DisabledRoom | None:
    return rooms.DISABLEDROOMIDS.get(snapshot, ByRoomId(room_id))


def scan_disabled(snapshot: Snapshot) -> Iterator[tuple[RoomId, DisabledRoom]]:
    """All of them, in the order of their ids."""
    for key, row in rooms.DISABLEDROOMIDS.scan(snapshot):
        yield RoomId(key.room_id), row


def stage_disabled(turn: Turn, room_id: RoomId, row: DisabledRoom | None) -> None:
    """``None`` enables the room."""
    turn.changes(_cache_key(room_id))
    if row is None:
        turn.batch.delete(rooms.DISABLEDROOMIDS, ByRoomId(room_id))
    else:
        turn.batch.put(rooms.DISABLEDROOMIDS, ByRoomId(room_id), row)


def get_removed(snapshot: Snapshot, room_id: RoomId) -> RemovedRoom | None:
    """How far the removal of a room has got, None for a room that is not being removed."""
    return rooms.REMOVEDROOMIDS.get(snapshot, ByRoomId(room_id))


def scan_removed(snapshot: Snapshot) -> Iterator[tuple[RoomId, RemovedRoom]]:
    """Rooms that are being removed."""
    for key, row in rooms.REMOVEDROOMIDS.scan(snapshot):
        yield RoomId(key.room_id), row


def stage_removed(turn: Turn, room_id: RoomId, row: RemovedRoom | None) -> None:
    """``None`` when it is gone."""
    turn.changes(_cache_key(room_id))
    if row is None:
        turn.batch.delete(rooms.REMOVEDROOMIDS, ByRoomId(room_id))
    else:
        turn.batch.put(rooms.REMOVEDROOMIDS, ByRoomId(room_id), row)
