"""The room directories of networks that application services bridge to.

Spec: application-service-api/#published-room-directories
"""

from __future__ import annotations

from conduit_py.data import appservices
from conduit_py.matrix.appservices import Registration
from conduit_py.matrix.ids import RoomId
from conduit_py.service.appservices.instances import instance_id
from conduit_py.service.errors import Forbidden, InvalidParam, NotFound
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.appservices import INSTANCE_ID_BYTES_MAX, ROOMS_PER_INSTANCE_MAX


class NetworkDirectory:
    """One per server."""

    def __init__(self, database: Database, writes: RoomWrites) -> None:
        self._database = database
        self._writes = writes

    async def set_listed(self, appservice: Registration, network_id: str, room_id: RoomId, *, is_listed: bool) -> None:
        """List a room in the directory of a network, or take it off.

        Raises ``NotFound``, ``InvalidParam`` and ``Forbidden``.

        Spec: client-server-api/#put_matrixclientv3directorylistappservicenetworkidroomid
        """
        instance = instance_id(appservice.id, network_id)
        if len(instance.encode()) > INSTANCE_ID_BYTES_MAX or "\0" in instance:
            raise InvalidParam("the id of the network is too long")
        with self._database.snapshot() as snapshot:
            if get_live_room(snapshot, room_id) is None:
                raise NotFound("Room not found")

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            room = append.room.short
            if appservices.is_listed(snapshot, instance, room) == is_listed:
                return
            if is_listed and sum(1 for _ in appservices.scan_listed(snapshot, instance)) >= ROOMS_PER_INSTANCE_MAX:
                raise Forbidden(f"a network has at most {ROOMS_PER_INSTANCE_MAX} rooms in its directory")
            appservices.stage_listed(turn, instance, room, is_listed=is_listed)

        await self._writes.write(room_id, stage)
