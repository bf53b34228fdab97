"""Short ids of rooms, users and state keys."""

from __future__ import annotations

from conduit_py.data.digest import digest
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.ids import Interner
from conduit_py.storage.writer import Turn
from kvschema.catalog import rooms
from kvschema.catalog.rooms import RoomRecord, ShortRoomId, ShortStateKey, ShortUserId, StateKeyRecord

_CACHED_BYTES = 200


class ShortIds:
    """Gives out short ids and finds them. One per server: it remembers the ids whose batch has not landed."""

    def __init__(self) -> None:
        self._rooms = Interner(rooms.ROOMID_SHORTROOMID)
        self._users = Interner(rooms.USERID_SHORTUSERID)
        self._state_keys = Interner(rooms.STATEKEY_SHORTSTATEKEY)

    def intern_room(self, snapshot: Snapshot, turn: Turn, room_id: RoomId, room_version: str) -> ShortRoomId:
        record = RoomRecord(room_id, room_version)
        short = self._rooms.intern(
            snapshot,
            turn,
            rooms.ByRoomId(room_id),
            lambda short: turn.batch.put(rooms.SHORTROOMID_ROOM, rooms.ByRoom(ShortRoomId(short)), record),
        )
        return ShortRoomId(short)

    def intern_user(self, snapshot: Snapshot, turn: Turn, user_id: UserId) -> ShortUserId:
        known = get_user(snapshot, user_id)
        if known is not None:
            return known
        short = self._users.intern(
            snapshot,
            turn,
            rooms.ByUserId(user_id),
            lambda short: turn.batch.put(rooms.SHORTUSERID_USERID, rooms.ByShort(short), user_id),
        )
        return ShortUserId(short)

    def intern_state_key(self, snapshot: Snapshot, turn: Turn, type: str, state_key: str) -> ShortStateKey:
        known = get_state_key(snapshot, type, state_key)
        if known is not None:
            return known
        record = StateKeyRecord(type, state_key)
        short = self._state_keys.intern(
            snapshot,
            turn,
            rooms.ByStateKeyDigest(digest(type, state_key)),
            lambda short: turn.batch.put(rooms.SHORTSTATEKEY_STATEKEY, rooms.ByShort(short), record),
        )
        return ShortStateKey(short)


def get_room(snapshot: Snapshot, room_id: RoomId) -> ShortRoomId | None:
    short = rooms.ROOMID_SHORTROOMID.get(snapshot, rooms.ByRoomId(room_id))
    return None if short is None else ShortRoomId(short)


def get_room_record(snapshot: Snapshot, room: ShortRoomId) -> RoomRecord:
    cached: RoomRecord | None = snapshot.cache.get(("room", room), snapshot.pos)
    if cached is not None:
        return cached
    record = rooms.SHORTROOMID_ROOM.get(snapshot, rooms.ByRoom(room))
    assert record is not None, f"room {room} has no record"
    snapshot.cache.put(("room", room), record, _CACHED_BYTES, snapshot.pos)
    return record


def get_user(snapshot: Snapshot, user_id: UserId) -> ShortUserId | None:
    cached: int | None = snapshot.cache.get(("user", user_id), snapshot.pos)
    if cached is None:
        cached = rooms.USERID_SHORTUSERID.get(snapshot, rooms.ByUserId(user_id))
        if cached is not None:
            snapshot.cache.put(("user", user_id), cached, _CACHED_BYTES, snapshot.pos)
    return None if cached is None else ShortUserId(cached)


def get_user_id(snapshot: Snapshot, user: ShortUserId) -> UserId:
    cached: str | None = snapshot.cache.get(("userid", user), snapshot.pos)
    if cached is None:
        cached = rooms.SHORTUSERID_USERID.get(snapshot, rooms.ByShort(user))
        assert cached is not None, f"user {user} has no id"
        snapshot.cache.put(("userid", user), cached, _CACHED_BYTES, snapshot.pos)
    return UserId(cached)


def get_state_key(snapshot: Snapshot, type: str, state_key: str) -> ShortStateKey | None:
    name = ("statekey", type, state_key)
    cached: int | None = snapshot.cache.get(name, snapshot.pos)
    if cached is None:
        cached = rooms.STATEKEY_SHORTSTATEKEY.get(snapshot, rooms.ByStateKeyDigest(digest(type, state_key)))
        if cached is not None:
            snapshot.cache.put(name, cached, _CACHED_BYTES, snapshot.pos)
    return None if cached is None else ShortStateKey(cached)


def get_state_key_record(snapshot: Snapshot, state_key: ShortStateKey) -> StateKeyRecord:
    name = ("shortstatekey", state_key)
    cached: StateKeyRecord | None = snapshot.cache.get(name, snapshot.pos)
    if cached is None:
        cached = rooms.SHORTSTATEKEY_STATEKEY.get(snapshot, rooms.ByShort(state_key))
        assert cached is not None, f"state key {state_key} has no record"
        snapshot.cache.put(name, cached, _CACHED_BYTES, snapshot.pos)
    return cached
