"""Taking everything that is about one room out of the store, in small batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from conduit_py.data import closed, timeline
from conduit_py.data.room_rows import EVENTS, OneRoom, RowsOfRooms
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import members, rooms
from kvschema.catalog import state as states
from kvschema.catalog import timeline as timelines
from kvschema.catalog.members import BAN, LEAVE, Farewell, Membership, UserPos, UserRoom
from kvschema.catalog.rooms import RemovedRoom, ShortEventId, ShortUserId, StreamPos
from kvschema.catalog.timeline import ByEventId, ByShortEvent, EventRow

SCANNED_MAX = 1000
"""Rows that are looked at for one batch, about 5 ms."""
REMOVED_MAX = 300
"""Rows that one batch removes."""

Stage = Callable[[Turn, Any, Any], None]
"""Removes the row with this key and value."""


def stage_cut_off(turn: Turn, room: OneRoom, row: RemovedRoom) -> None:
    """From now on nothing leads from the room's id to what there is of it."""
    turn.batch.delete(rooms.ROOMID_SHORTROOMID, rooms.ByRoomId(room.room_id))
    closed.stage_removed(turn, room.room_id, row._replace(is_cut_off=True))


def stage_some_removed(snapshot: Snapshot, turn: Turn, rows: RowsOfRooms, room: OneRoom, after: Any) -> Any | None:
    """Remove some of the rows of a tree that are about the room. Returns the key to go on after, None at the end."""

    def stage(turn: Turn, key: Any, value: Any) -> None:
        if rows is EVENTS:
            _stage_event_id_removed(snapshot, turn, key, value)
        turn.changes(*_cached_of(rows, key))
        turn.batch.delete(rows.tree, key)

    return _stage_some(snapshot, turn, rows, room, after, stage)


def stage_some_hidden(snapshot: Snapshot, turn: Turn, room: OneRoom, after: Any) -> Any | None:
    """Remove the ids of some of the room's events, so that nothing leads to them. Returns as the other."""

    def stage(turn: Turn, key: ByShortEvent, row: EventRow) -> None:
        _stage_event_id_removed(snapshot, turn, key, row)

    return _stage_some(snapshot, turn, EVENTS, room, after, stage)


def stage_some_dismissed(
    snapshot: Snapshot, turn: Turn, rows: RowsOfRooms, room: OneRoom, after: Any, now_ms: int
) -> tuple[Any | None, list[ShortUserId]]:
    """Take the room out of some users' lists: what they hear of it from now on is that they left.

    ``rows`` are the latest changes of membership. Returns as the others, and the users.
    """
    users: list[ShortUserId] = []

    def stage(turn: Turn, key: UserPos, change: members.MembershipChange) -> None:
        own = UserRoom(key.user, change.kind, room.room)
        row = members.USERROOMID_MEMBERSHIP.get(snapshot, own)
        if row is not None and not row.forgotten:
            # Whoever is still in the room, because it could not be left, leaves it now.
            pos = key.pos if change.kind in (LEAVE, BAN) else StreamPos(turn.take_pos())
            farewell = Farewell(room.room_id, now_ms, _build_farewell(snapshot, change.kind, row))
            turn.batch.put(members.USERPOS_FAREWELL, UserPos(key.user, pos), farewell)
        users.append(key.user)
        turn.changes(("joined", key.user), ("localjoined", room.room))
        turn.batch.delete(members.USERROOMID_MEMBERSHIP, own)
        turn.batch.delete(members.USERPOS_MEMBERSHIPCHANGE, key)

    return _stage_some(snapshot, turn, rows, room, after, stage), users


def _build_farewell(snapshot: Snapshot, kind: int, row: Membership) -> str:
    event = timeline.get_row(snapshot, row.event) if row.event and kind in (LEAVE, BAN) else None
    return "" if event is None else timeline.client_json(event, b"{}", room_id=None).decode()


def _stage_some(
    snapshot: Snapshot, turn: Turn, rows: RowsOfRooms, room: OneRoom, after: Any, stage: Stage
) -> Any | None:
    removed = 0
    for scanned, (key, value, is_about) in enumerate(rows.scan(snapshot, room, after=after), 1):
        if is_about:
            stage(turn, key, value)
            removed += 1
        if scanned == SCANNED_MAX or removed == REMOVED_MAX:
            return key
    return None


def _stage_event_id_removed(snapshot: Snapshot, turn: Turn, key: ByShortEvent, row: EventRow) -> None:
    by_id = ByEventId(row.event_id)
    if timelines.EVENTID_SHORTEVENTID.get(snapshot, by_id) == key.event:
        turn.batch.delete(timelines.EVENTID_SHORTEVENTID, by_id)


def _cached_of(rows: RowsOfRooms, key: Any) -> tuple[Hashable, ...]:
    """Under which names the row may be cached."""
    if rows is EVENTS:
        event: ShortEventId = key.event
        return ("event", event), ("pdu", event), ("facts", event), ("authevents", event)
    if rows.tree is states.STATEID_STATEDIFF:
        return ("state", key.state), ("others", key.state)
    if rows.tree is rooms.SHORTROOMID_ROOM:
        return ("room", key.room), ("localjoined", key.room)
    if rows.tree is members.ROOMSERVERIDS:
        return (("servers", key.room),)
    if rows.tree is members.USERROOMID_MEMBERSHIP:
        return (("joined", key.user),)
    return ()
