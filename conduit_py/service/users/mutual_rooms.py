"""The rooms that two users share.

Spec: client-server-api/#mutual-rooms
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conduit_py.data import members, short_ids
from conduit_py.matrix.ids import RoomId, UserId, is_compliant_user_id, parse_user_id, server_name_of
from conduit_py.service.errors import InvalidParam
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortRoomId

BATCH_ROOMS_MAX: Final = 500
_TOKEN_DIGITS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class MutualRooms:
    """One batch of rooms; ``count`` is that of all batches, ``next_batch`` None for the last."""

    joined: list[RoomId]
    count: int
    next_batch: str | None


class MutualRoomService:
    """One per server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_mutual_rooms(self, requester: Requester, user_id: str, since: str | None) -> MutualRooms:
        """Rooms that both are joined to, none for a user that nobody heard of.

        Raises ``InvalidParam`` for the requester, for an id that today's users cannot have, and for a bad token.
        """
        other = parse_user_id(user_id)
        if other == requester.user_id or not is_compliant_user_id(other):
            raise InvalidParam("user_id must be the id of another user")
        after = _parse_token(since)
        with self._store.snapshot() as snapshot:
            shared = _get_shared(snapshot, requester, other)
            batch = [room for room in shared if room > after][: BATCH_ROOMS_MAX + 1]
            joined = [RoomId(short_ids.get_room_record(snapshot, room).room_id) for room in batch[:BATCH_ROOMS_MAX]]
        has_more = len(batch) > BATCH_ROOMS_MAX
        return MutualRooms(joined, len(shared), str(batch[BATCH_ROOMS_MAX - 1]) if has_more else None)


def _get_shared(snapshot: Snapshot, requester: Requester, other: UserId) -> list[ShortRoomId]:
    user = short_ids.get_user(snapshot, other)
    if user is None:
        return []
    own = [room for room, _ in members.scan_rooms(snapshot, requester.user, JOIN)]
    if server_name_of(other) == server_name_of(requester.user_id):
        theirs = {room for room, _ in members.scan_rooms(snapshot, user, JOIN)}
        return sorted(theirs.intersection(own))
    return sorted(room for room in own if members.is_remote_joined(snapshot, user, room))


def _parse_token(token: str | None) -> int:
    if token is None:
        return 0
    if not token.isascii() or not token.isdecimal() or len(token) > _TOKEN_DIGITS_MAX:
        raise InvalidParam("from is not a token of this server")
    return int(token)
