"""What goes with people from a room to the one that replaces it: tags, how it notifies them, that it is a direct chat.

Who is in the old room on the server that replaces it has all that waiting in the new one. Everybody else, those on
other servers first of all, takes it along when joining, and with them goes the old room's entry in the directory.

Spec: client-server-api/#room-upgrades
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from conduit_py.data import account_data, members, rooms, short_ids, state
from conduit_py.data.account_data import GLOBAL_ROOM
from conduit_py.data.apart import PUSH_RULES, get_users_apart
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.push.edit import follow_room
from conduit_py.service.users.push_rules import get_user_rules, store_rules
from conduit_py.service.users.sessions import Wake
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.members import JOIN, LEAVE
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

TAG: Final = "m.tag"
DIRECT: Final = "m.direct"
_CREATE: Final = "m.room.create"
_TOMBSTONE: Final = "m.room.tombstone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """One room takes the place of another."""

    old: ShortRoomId
    old_id: RoomId
    new: ShortRoomId
    new_id: RoomId


class Successors:
    """One per server."""

    def __init__(self, store: Store, *, wake: Wake) -> None:
        self._store = store
        self._wake = wake

    async def follow(self, user: ShortUserId, room_id: RoomId) -> None:
        """A local user has joined a room: if it replaces one that they were in, let them find it as they left that."""
        with self._store.snapshot() as snapshot:
            if _find(snapshot, user, room_id) is None:
                return
        async with self._store.locks.hold(("account_data", user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                succession = _find(snapshot, user, room_id)
                if succession is None:
                    return
                stage_settings(snapshot, turn, user, succession)
                if rooms.is_public(snapshot, succession.old):
                    stage_listing(turn, succession)
            turn.on_landed(lambda: self._wake([user]))


def _find(snapshot: Snapshot, user: ShortUserId, room_id: RoomId) -> Succession | None:
    """What a room replaces, if both rooms say so and the user was in the old one."""
    new = short_ids.get_room(snapshot, room_id)
    create = None if new is None else state.get_current_pdu(snapshot, new, _CREATE, "")
    predecessor = None if create is None else create.content.get("predecessor")
    named = predecessor.get("room_id") if isinstance(predecessor, dict) else None
    old_id = RoomId(named if isinstance(named, str) else "")
    old = short_ids.get_room(snapshot, old_id)
    if new is None or old is None:
        return None
    tombstone = state.get_current_pdu(snapshot, old, _TOMBSTONE, "")
    if tombstone is None or tombstone.content.get("replacement_room") != room_id:
        return None
    standing = members.get_membership(snapshot, user, old)
    if standing is None or standing[0] not in (JOIN, LEAVE) or not members.is_joined(snapshot, user, new):
        return None
    return Succession(old=old, old_id=old_id, new=new, new_id=room_id)


def stage_settings(snapshot: Snapshot, turn: Turn, user: ShortUserId, succession: Succession) -> None:
    """What the user has set for the new room already stays as it is."""
    tags = account_data.get_content(snapshot, user, succession.old, TAG)
    if tags is not None and account_data.get_content(snapshot, user, succession.new, TAG) is None:
        account_data.stage_content(snapshot, turn, user, succession.new, TAG, tags)
    if user in get_users_apart(snapshot):
        rules = get_user_rules(snapshot, user)
        carried = follow_room(rules, succession.old_id, succession.new_id)
        if carried != rules:
            account_data.stage_content(snapshot, turn, user, GLOBAL_ROOM, PUSH_RULES, store_rules(carried))
    direct = account_data.get_content(snapshot, user, GLOBAL_ROOM, DIRECT)
    carried_direct = None if direct is None else _follow_direct(direct, succession)
    if carried_direct is not None:
        account_data.stage_content(snapshot, turn, user, GLOBAL_ROOM, DIRECT, carried_direct)


def _follow_direct(direct: str, succession: Succession) -> str | None:
    """``m.direct`` with the new room beside the old one; None where nothing is to be added."""
    content, has_changed = orjson.loads(direct), False
    for chats in content.values() if isinstance(content, dict) else ():
        if isinstance(chats, list) and succession.old_id in chats and succession.new_id not in chats:
            chats.insert(chats.index(succession.old_id) + 1, succession.new_id)
            has_changed = True
    return orjson.dumps(content).decode() if has_changed else None


def stage_listing(turn: Turn, succession: Succession) -> None:
    """The directory of this server lists the new room in the old one's place."""
    rooms.stage_public(turn, succession.old, is_public=False)
    rooms.stage_public(turn, succession.new, is_public=True)
