"""Short ids, aliases and the directory: ``kvschema.catalog.rooms``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.consistency.derived import compare_tree
from conduit_py.data.digest import digest
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.storage.database import Snapshot
from kvschema.catalog import rooms
from kvschema.catalog.rooms import (
    AliasRecord,
    ByRoom,
    ByRoomAlias,
    ByRoomId,
    ByShort,
    ByStateKeyDigest,
    ByUserId,
    ShortRoomId,
)


def check_room_ids(snapshot: Snapshot) -> Iterator[str]:
    """Every room id leads to a short id that leads back: no short id stands for two rooms."""
    for key, short in rooms.ROOMID_SHORTROOMID.scan(snapshot):
        record = rooms.SHORTROOMID_ROOM.get(snapshot, ByRoom(ShortRoomId(short)))
        if record is None or record.room_id != key.room_id:
            yield f"roomid_shortroomid: {key.room_id} leads to {short}, which is {record}"


def check_rooms(snapshot: Snapshot) -> Iterator[str]:
    """The other direction, and that the room version is one we know."""
    for key, record in rooms.SHORTROOMID_ROOM.scan(snapshot):
        if rooms.ROOMID_SHORTROOMID.get(snapshot, ByRoomId(record.room_id)) != key.room:
            yield f"shortroomid_room: {key.room} is {record.room_id}, which does not lead back to it"
        if record.room_version not in ROOM_VERSIONS:
            yield f"shortroomid_room: {key.room} has the room version {record.room_version!r}, which nobody knows"


def check_user_ids(snapshot: Snapshot) -> Iterator[str]:
    """Every user id leads to a short id that leads back: no short id stands for two users."""
    for key, short in rooms.USERID_SHORTUSERID.scan(snapshot):
        user_id = rooms.SHORTUSERID_USERID.get(snapshot, ByShort(short))
        if user_id != key.user_id:
            yield f"userid_shortuserid: {key.user_id} leads to {short}, which is {user_id}"


def check_users(snapshot: Snapshot) -> Iterator[str]:
    return compare_tree(
        snapshot,
        rooms.SHORTUSERID_USERID,
        ((ByShort(short), key.user_id) for key, short in rooms.USERID_SHORTUSERID.scan(snapshot)),
        lambda key, user_id: rooms.USERID_SHORTUSERID.get(snapshot, ByUserId(user_id)) == key.short,
    )


def check_state_key_digests(snapshot: Snapshot) -> Iterator[str]:
    """Every digest leads to a short id whose type and state key have that digest."""
    for key, short in rooms.STATEKEY_SHORTSTATEKEY.scan(snapshot):
        record = rooms.SHORTSTATEKEY_STATEKEY.get(snapshot, ByShort(short))
        if record is None or digest(*record) != key.digest:
            yield f"statekey_shortstatekey: {key.digest.hex()} leads to {short}, which is {record}"


def check_state_keys(snapshot: Snapshot) -> Iterator[str]:
    """The other direction: no short id stands for two state keys."""
    for key, record in rooms.SHORTSTATEKEY_STATEKEY.scan(snapshot):
        if rooms.STATEKEY_SHORTSTATEKEY.get(snapshot, ByStateKeyDigest(digest(*record))) != key.short:
            yield f"shortstatekey_statekey: {key.short} is {tuple(record)}, which does not lead back to it"


def check_aliases(snapshot: Snapshot) -> Iterator[str]:
    """Every alias names a room that there is."""
    for key, record in rooms.ALIAS_ROOMID.scan(snapshot):
        if rooms.ROOMID_SHORTROOMID.get(snapshot, ByRoomId(record.room_id)) is None:
            yield f"alias_roomid: {key.alias} names {record.room_id}, which nobody knows"


def check_aliases_of_rooms(snapshot: Snapshot) -> Iterator[str]:
    def room_of(record: AliasRecord | None) -> int | None:
        return None if record is None else rooms.ROOMID_SHORTROOMID.get(snapshot, ByRoomId(record.room_id))

    return compare_tree(
        snapshot,
        rooms.ROOMID_ALIAS,
        (
            (ByRoomAlias(ShortRoomId(room), key.alias), None)
            for key, record in rooms.ALIAS_ROOMID.scan(snapshot)
            if (room := room_of(record)) is not None
        ),
        lambda key, _: room_of(rooms.ALIAS_ROOMID.get(snapshot, rooms.ByAlias(key.alias))) == key.room,
    )


def check_public_rooms(snapshot: Snapshot) -> Iterator[str]:
    """Only rooms that there are can be listed."""
    for key in rooms.PUBLICROOMIDS.scan_keys(snapshot):
        if not rooms.SHORTROOMID_ROOM.has(snapshot, key):
            yield f"publicroomids: there is no room {key.room}"
