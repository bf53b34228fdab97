"""The current state of a room as another server tells it, with every index of it, staged as a whole.

That of a large room is some 200,000 rows. They are put together a few thousand at a time, with other tasks in between,
and land in one batch: a room is never there by half.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from conduit_py.matrix.ids import ServerName
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.batch import WriteBatch
from kvschema.catalog import members, rooms, state
from kvschema.catalog.members import JOIN, RemoteRoom, RoomKind, RoomMember, RoomServer, ServerRoom
from kvschema.catalog.rooms import ByRoom, ShortEventId, ShortRoomId, ShortStateKey, ShortUserId, StateId, StreamPos
from kvschema.tree import Tree


@dataclass(frozen=True, slots=True)
class ImageMember:
    """Somebody who is joined, invited or knocking."""

    user: ShortUserId
    server_name: ServerName
    is_local: bool
    kind: int
    event: ShortEventId


_OF_ROOM: tuple[Tree[Any, Any], ...] = (
    state.ROOMSTATE_SHORTEVENTID,
    members.ROOMUSERID_MEMBER,
    members.ROOMID_MEMBERCOUNT,
    members.ROOMSERVERIDS,
    rooms.ROOMID_PDULEAVES,
)


class RoomImage:
    """Begin with ``clear_some`` until there is nothing left, put in everything, and ``stage`` it.

    Whoever makes one holds the room's lock: what is there must not change meanwhile.
    """

    def __init__(self, room: ShortRoomId) -> None:
        self._room = room
        self._batch = WriteBatch()
        self._uncleared = list(_OF_ROOM)
        self._cleared: Any = None
        self.old_keys: list[ShortStateKey] = []
        """Entries of the state that was there."""
        self._counts: Counter[int] = Counter()
        self._servers: Counter[ServerName] = Counter()

    def clear_some(self, snapshot: Snapshot, rows_max: int) -> bool:
        """Take away some of what is there. True as long as there may be more."""
        if not self._uncleared:
            return False
        tree = self._uncleared[0]
        keys = list(islice(tree.scan_keys(snapshot, self._room, after=self._cleared), rows_max))
        for key in keys:
            self._batch.delete(tree, key)
            if isinstance(key, state.RoomStateKey):
                self.old_keys.append(key.state_key)
            elif isinstance(key, RoomMember) and key.kind == JOIN and key.remote:
                self._batch.delete(members.REMOTE_ROOMS, RemoteRoom(key.user, self._room))
            elif isinstance(key, RoomServer):
                self._batch.delete(members.SERVERROOMIDS, ServerRoom(key.server_name, self._room))
        self._cleared = keys[-1] if keys else None
        if len(keys) < rows_max:
            self._uncleared.pop(0)
            self._cleared = None
        return True

    def put_entries(self, entries: Iterable[tuple[ShortStateKey, ShortEventId]]) -> None:
        """Entries of the state."""
        for state_key, event in entries:
            self._batch.put(state.ROOMSTATE_SHORTEVENTID, state.RoomStateKey(self._room, state_key), event)

    def put_members(self, present: Iterable[ImageMember]) -> None:
        """Members. The standing of local users is for the caller to change as well."""
        for member in present:
            key = RoomMember(self._room, member.kind, 0 if member.is_local else 1, member.user)
            self._batch.put(members.ROOMUSERID_MEMBER, key, member.event)
            self._counts[member.kind] += 1
            if member.kind == JOIN:
                self._servers[member.server_name] += 1
                if not member.is_local:
                    # Nobody here shares the room yet, so it does not matter when exactly it began.
                    self._batch.put(members.REMOTE_ROOMS, RemoteRoom(member.user, self._room), StreamPos(member.event))

    def stage(self, turn: Turn, state_id: StateId, encoded: bytes) -> None:
        """Make it the room's state, under the name ``state_id``; ``encoded`` is made by ``state.encode_first``."""
        for kind, count in self._counts.items():
            self._batch.put(members.ROOMID_MEMBERCOUNT, RoomKind(self._room, kind), count)
        for server_name, count in self._servers.items():
            self._batch.put(members.ROOMSERVERIDS, RoomServer(self._room, server_name), count)
            self._batch.put(members.SERVERROOMIDS, ServerRoom(server_name, self._room), count)
        turn.batch.extend(self._batch)
        turn.changes(("localjoined", self._room), ("servers", self._room))
        turn.batch.put(state.STATEID_STATEDIFF, state.ByState(state_id), encoded)
        turn.batch.put(state.ROOMID_STATEID, ByRoom(self._room), state_id)
