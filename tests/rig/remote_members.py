"""Users of other servers in rooms of ours, without their servers: their events are written as if they had come."""

from __future__ import annotations

import secrets

from conduit_py.matrix.ids import EventId, RoomId, ServerName, UserId
from conduit_py.service.hub import SyncHub
from conduit_py.service.rooms.append import Append
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.service.server_keys import load_signing_key
from conduit_py.service.users.store import Store
from tests.rig.writing import make_tools


class RemoteMembers:
    """Made by ``open_remote_members``."""

    def __init__(self, writes: RoomWrites) -> None:
        self._writes = writes

    async def set(self, user_id: str, room_id: str, membership: str, **content: str) -> None:
        """The user becomes ``join``, ``leave`` or ``knock`` in a room of ours, by an event of the user's own."""
        user = UserId(user_id)
        await self._writes.write(
            RoomId(room_id),
            lambda snapshot, turn, room: room.append(
                room.create_event(
                    sender=user, type="m.room.member", state_key=user, content={"membership": membership, **content}
                )
            ),
        )

    async def join(self, user_id: str, *room_ids: str) -> None:
        for room_id in room_ids:
            await self.set(user_id, room_id, "join")

    async def leave(self, user_id: str, *room_ids: str) -> None:
        for room_id in room_ids:
            await self.set(user_id, room_id, "leave")


async def open_remote_members(store: Store, hub: SyncHub, server_name: str) -> RemoteMembers:
    name = ServerName(server_name)
    append = Append(
        tools=make_tools(store, hub, name),
        signing_key=await load_signing_key(store.database, store.writer, random_bytes=secrets.token_bytes),
        new_event_id=lambda: EventId(f"${secrets.token_urlsafe(18)}:{name}"),
    )
    return RemoteMembers(RoomWrites(store.database, store.writer, store.locks, append))
