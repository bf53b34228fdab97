"""Which rows of the whole store are about one room.

``ROOM_ROWS`` says it for every tree of the catalog. Most trees that are about rooms begin their keys with the room; of
the others each row is looked at. What only names a room from outside is not about it: a space that lists it, somebody's
direct chats, a report, keys of it in somebody's backup.

The order of ``ROOM_ROWS`` is that in which rows may go: whether a row is about the room is seen from those behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from conduit_py.data.state import StateDiff
from conduit_py.matrix.edus import RECEIPT, TYPING
from conduit_py.matrix.ids import RoomId
from kvschema.catalog import (
    account_data,
    appservices,
    e2ee,
    members,
    receipts,
    relations,
    rooms,
    search,
    sending,
    state,
    timeline,
    transactions,
)
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.tree import Reader, Tree


@dataclass(frozen=True, slots=True)
class OneRoom:
    """A room, by both of its ids."""

    room: ShortRoomId
    room_id: RoomId


IsAbout = Callable[[Reader, OneRoom, Any, Any], bool]
"""Is the row with this key and value about the room?"""


@dataclass(frozen=True, slots=True)
class RowsOfRooms:
    """Where a tree keeps what is about rooms."""

    tree: Tree[Any, Any]
    is_about: IsAbout | None
    """None: the key begins with the room."""
    is_after_room: bool = False
    """Are the keys positions that are handed out like the short id of the room, so that its rows come after it?"""

    def scan(self, reader: Reader, room: OneRoom, *, after: Any = None) -> Iterator[tuple[Any, Any, bool]]:
        """Keys and values that may be about the room, and whether they are; from the beginning, or past a key."""
        if self.is_about is None:
            for key, value in self.tree.scan(reader, room.room, after=after):
                yield key, value, True
            return
        if self.is_after_room and after is None:
            after = self.tree.key.decode(room.room.to_bytes(8, "big"))
        for key, value in self.tree.scan(reader, after=after):
            yield key, value, self.is_about(reader, room, key, value)

    def holds(self, reader: Reader, room: OneRoom, raw_key: bytes, raw: bytes) -> bool:
        """Is this row about the room?"""
        key = self.tree.key.decode(raw_key)
        if self.is_about is None:
            return bool(key[0] == room.room)
        return self.is_about(reader, room, key, self.tree.value.decode(raw))


def get_room_of_event(reader: Reader, event: int) -> ShortRoomId | None:
    """The room of a stored event."""
    row = timeline.SHORTEVENTID_PDU.get(reader, timeline.ByShortEvent(ShortEventId(event)))
    return None if row is None else row.room


def _by_field(name: str) -> IsAbout:
    """The key or the value names the room."""

    def is_about(reader: Reader, room: OneRoom, key: Any, value: Any) -> bool:
        return bool(getattr(key if hasattr(key, name) else value, name) == room.room)

    return is_about


def _by_event(get: Callable[[Any, Any], int]) -> IsAbout:
    """The row names an event of the room."""

    def is_about(reader: Reader, room: OneRoom, key: Any, value: Any) -> bool:
        event = get(key, value)
        return bool(event) and get_room_of_event(reader, event) == room.room

    return is_about


def _by_room_id(reader: Reader, room: OneRoom, key: Any, value: Any) -> bool:
    record = key if hasattr(key, "room_id") else value
    return bool(record.room_id == room.room_id)


def _is_edu_about(reader: Reader, room: OneRoom, key: Any, value: sending.QueuedEdu) -> bool:
    if room.room_id.encode() not in value.json:
        return False
    edu = orjson.loads(value.json)
    content = edu["content"]
    if edu["edu_type"] == RECEIPT:
        return room.room_id in content
    return bool(edu["edu_type"] == TYPING and content.get("room_id") == room.room_id)


def _is_state_about(reader: Reader, room: OneRoom, key: Any, value: bytes) -> bool:
    """A state is of the room that its events are of, or its base is. The empty state is no row."""
    diff = StateDiff(value)
    while True:
        for _key, event in diff.items():  # noqa: PERF102 (it is no dict)
            found = get_room_of_event(reader, event) if event else None
            if found is not None:
                return found == room.room
        if not diff.base:
            return False
        raw = state.STATEID_STATEDIFF.get(reader, state.ByState(diff.base))
        if raw is None:  # Nothing but the removal of its room takes a state away.
            return True
        diff = StateDiff(raw)


def _is_age_about(reader: Reader, room: OneRoom, key: transactions.TransactionAge, value: None) -> bool:
    answer = transactions.USERDEVICETXNID_RESPONSE.get(reader, transactions.TransactionKey(key.user, key.digest))
    return answer is not None and bool(answer.event) and get_room_of_event(reader, answer.event) == room.room


def _prefixed(*trees: Tree[Any, Any]) -> tuple[RowsOfRooms, ...]:
    return tuple(RowsOfRooms(tree, None) for tree in trees)


_OF_ROOM = _by_field("room")
MEMBERSHIPS = RowsOfRooms(members.USERROOMID_MEMBERSHIP, _OF_ROOM)

WAYS_IN: tuple[RowsOfRooms, ...] = (
    *_prefixed(rooms.PUBLICROOMIDS, rooms.ROOMID_ALIAS, transactions.WAITINGPDU),
    RowsOfRooms(rooms.ALIAS_ROOMID, _by_room_id),
    RowsOfRooms(appservices.INSTANCEIDROOMID, _OF_ROOM),
    RowsOfRooms(members.USERPOS_MEMBERSHIPCHANGE, _OF_ROOM),
    MEMBERSHIPS,
    RowsOfRooms(account_data.USERROOMTYPE_POS, _OF_ROOM),
    RowsOfRooms(account_data.USERPOS_ACCOUNTDATA, _OF_ROOM),
    RowsOfRooms(e2ee.ANNOUNCEMENTS, _OF_ROOM),
    RowsOfRooms(sending.SERVERNAMEROOM_EVENT, _OF_ROOM),
    RowsOfRooms(sending.SERVERNAMEPOS_EVENT, _by_event(lambda key, event: int(event))),
    RowsOfRooms(sending.SERVERNAMEPOS_EDU, _is_edu_about),
    RowsOfRooms(appservices.APPSERVICEIDPOS_EVENT, _by_event(lambda key, event: int(event))),
    RowsOfRooms(transactions.TXNAGE, _is_age_about),
    RowsOfRooms(transactions.USERDEVICETXNID_RESPONSE, _by_event(lambda key, row: int(row.event))),
)
"""By which somebody who has not begun yet would come upon the room, beside its id and the ids of its events."""
EVENT_IDS = RowsOfRooms(timeline.EVENTID_SHORTEVENTID, _by_event(lambda key, event: int(event)))
EVENTS = RowsOfRooms(timeline.SHORTEVENTID_PDU, _OF_ROOM, is_after_room=True)
ROOM_ID = RowsOfRooms(rooms.ROOMID_SHORTROOMID, lambda reader, room, key, short: bool(short == room.room))

ROOM_ROWS: tuple[RowsOfRooms, ...] = (
    ROOM_ID,
    *WAYS_IN,
    EVENT_IDS,
    *_prefixed(
        rooms.ROOMID_PDULEAVES,
        timeline.PDUID_SHORTEVENTID,
        timeline.ROOMTIME_SHORTEVENTID,
        timeline.ROOMID_GAP,
        timeline.EARLYREDACTION,
        *relations.TREES,
        search.TOKENIDS,
        *receipts.TREES,
        state.ROOMID_STATEID,
        state.ROOMSTATE_SHORTEVENTID,
        state.ROOMPOS_STATEID,
        members.ROOMUSERID_MEMBER,
        members.ROOMID_MEMBERCOUNT,
        members.ROOMSERVERIDS,
    ),
    RowsOfRooms(members.SERVERROOMIDS, _OF_ROOM),
    RowsOfRooms(members.REMOTE_ROOMS, _OF_ROOM),
    RowsOfRooms(state.STATEID_STATEDIFF, _is_state_about, is_after_room=True),
    RowsOfRooms(timeline.SHORTEVENTID_AUTHEVENTS, _by_event(lambda key, value: int(key.event)), is_after_room=True),
    RowsOfRooms(
        transactions.SHORTEVENTID_TRANSACTION, _by_event(lambda key, value: int(key.event)), is_after_room=True
    ),
    EVENTS,
    *_prefixed(rooms.SHORTROOMID_ROOM),
)


class _WithoutRoom:
    """A reader that shows the store as if a room were not in it."""

    def __init__(self, reader: Reader, room: OneRoom) -> None:
        self._reader = reader
        self._room = room
        self._rows = {rows.tree.name: rows for rows in ROOM_ROWS}
        self.version = reader.version

    def get(self, tree: str, key: bytes, /) -> bytes | None:
        raw = self._reader.get(tree, key)
        return None if raw is None or self._is_hidden(tree, key, raw) else raw

    def scan(
        self, tree: str, prefix: bytes, start: bytes, stop: bytes, reverse: bool, /
    ) -> Iterator[tuple[bytes, bytes]]:
        for key, raw in self._reader.scan(tree, prefix, start, stop, reverse):
            if not self._is_hidden(tree, key, raw):
                yield key, raw

    def count(self, tree: str, /) -> int:
        return sum(1 for _ in self.scan(tree, b"", b"", b"", False))

    def _is_hidden(self, tree: str, key: bytes, raw: bytes) -> bool:
        rows = self._rows.get(tree)
        return rows is not None and rows.holds(self._reader, self._room, key, raw)


def without_rooms(reader: Reader, hidden: Iterable[OneRoom]) -> Reader:
    """The store as if these rooms were not in it."""
    for room in hidden:
        reader = _WithoutRoom(reader, room)
    return reader
