"""Rooms: what they are, their forward extremities, aliases and the directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from conduit_py.data import short_ids
from conduit_py.data.state import get_current_state_id
from conduit_py.matrix.ids import RoomAlias, RoomId, UserId
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import rooms
from kvschema.catalog.rooms import AliasRecord, ByRoom, ByRoomAlias, ByRoomEvent, ShortEventId, ShortRoomId, StateId

EXTREMITIES_MAX = 40
"""Ends of a room that are remembered: of more, those that came first are given up, and what they led to with them."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room as one snapshot shows it."""

    short: ShortRoomId
    room_id: RoomId
    version: RoomVersion
    state_id: StateId
    extremities: tuple[ShortEventId, ...]


def get_room(snapshot: Snapshot, room_id: RoomId) -> Room | None:
    """A room that we hold; None too for a room that we only know by name, such as one we are invited to."""
    # A request that writes looks twice: for a policy server to ask first, and in its turn.
    return snapshot.once(("room", room_id), lambda: _read_room(snapshot, room_id))


def _read_room(snapshot: Snapshot, room_id: RoomId) -> Room | None:
    short = short_ids.get_room(snapshot, room_id)
    if short is None:
        return None
    state_id = get_current_state_id(snapshot, short)
    if not state_id:
        return None
    record = short_ids.get_room_record(snapshot, short)
    return Room(short, room_id, ROOM_VERSIONS[record.room_version], state_id, get_extremities(snapshot, short))


def get_extremities(snapshot: Snapshot, room: ShortRoomId) -> tuple[ShortEventId, ...]:
    """The forward extremities of a room."""
    return tuple(key.event for key in rooms.ROOMID_PDULEAVES.scan_keys(snapshot, room))


def stage_new(turn: Turn, room_id: RoomId) -> None:
    """The room must not be there yet when the batch lands: two that begin at once cannot see each other."""
    turn.batch.require_absent(rooms.ROOMID_SHORTROOMID, rooms.ByRoomId(room_id))


def stage_version(turn: Turn, room: ShortRoomId, room_id: RoomId, version: RoomVersion) -> None:
    """Correct the version of a room that is known by its id only: whoever told of it may have been wrong."""
    turn.changes(("room", room))
    turn.batch.put(rooms.SHORTROOMID_ROOM, ByRoom(room), rooms.RoomRecord(room_id, version.id))


def stage_extremities(
    turn: Turn, room: ShortRoomId, before: tuple[ShortEventId, ...], after: tuple[ShortEventId, ...]
) -> None:
    """Replace the forward extremities of a room."""
    for event in set(before) - set(after):
        turn.batch.delete(rooms.ROOMID_PDULEAVES, ByRoomEvent(room, event))
    for event in set(after) - set(before):
        turn.batch.put(rooms.ROOMID_PDULEAVES, ByRoomEvent(room, event), None)


def get_alias(snapshot: Snapshot, alias: RoomAlias) -> AliasRecord | None:
    return rooms.ALIAS_ROOMID.get(snapshot, rooms.ByAlias(alias))


def scan_aliases(snapshot: Snapshot, room: ShortRoomId) -> Iterator[RoomAlias]:
    """The local aliases of a room, in order."""
    for key in rooms.ROOMID_ALIAS.scan_keys(snapshot, room):
        yield RoomAlias(key.alias)


def stage_alias(turn: Turn, room: ShortRoomId, room_id: RoomId, alias: RoomAlias, creator: UserId) -> None:
    """Give a room an alias that must be free when the batch lands."""
    turn.batch.require_absent(rooms.ALIAS_ROOMID, rooms.ByAlias(alias))
    turn.batch.put(rooms.ALIAS_ROOMID, rooms.ByAlias(alias), AliasRecord(room_id, creator))
    turn.batch.put(rooms.ROOMID_ALIAS, ByRoomAlias(room, alias), None)


def stage_alias_taken(
    turn: Turn, before: ShortRoomId, room: ShortRoomId, room_id: RoomId, alias: RoomAlias, creator: UserId
) -> None:
    """Take an alias from the room ``before``, and from whose it was."""
    turn.batch.put(rooms.ALIAS_ROOMID, rooms.ByAlias(alias), AliasRecord(room_id, creator))
    turn.batch.delete(rooms.ROOMID_ALIAS, ByRoomAlias(before, alias))
    turn.batch.put(rooms.ROOMID_ALIAS, ByRoomAlias(room, alias), None)


def stage_alias_deleted(turn: Turn, room: ShortRoomId, alias: RoomAlias) -> None:
    turn.batch.delete(rooms.ALIAS_ROOMID, rooms.ByAlias(alias))
    turn.batch.delete(rooms.ROOMID_ALIAS, ByRoomAlias(room, alias))


def stage_alias_moved(
    snapshot: Snapshot, turn: Turn, alias: RoomAlias, before: ShortRoomId, after: ShortRoomId, room_id: RoomId
) -> None:
    """Let an alias name another room; whose it is stays the same."""
    record = get_alias(snapshot, alias)
    assert record is not None, f"{alias} names no room"
    turn.batch.put(rooms.ALIAS_ROOMID, rooms.ByAlias(alias), record._replace(room_id=room_id))
    turn.batch.delete(rooms.ROOMID_ALIAS, ByRoomAlias(before, alias))
    turn.batch.put(rooms.ROOMID_ALIAS, ByRoomAlias(after, alias), None)


def is_public(snapshot: Snapshot, room: ShortRoomId) -> bool:
    """Is the room listed in the directory?"""
    return rooms.PUBLICROOMIDS.has(snapshot, ByRoom(room))


def scan_public(snapshot: Snapshot) -> Iterator[ShortRoomId]:
    for key in rooms.PUBLICROOMIDS.scan_keys(snapshot):
        yield key.room


def stage_public(turn: Turn, room: ShortRoomId, *, is_public: bool) -> None:
    """List the room in the directory, or take it off."""
    if is_public:
        turn.batch.put(rooms.PUBLICROOMIDS, ByRoom(room), None)
    else:
        turn.batch.delete(rooms.PUBLICROOMIDS, ByRoom(room))
