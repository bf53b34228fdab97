"""A room of ours that another server tells us thousands have come to, or gone from, without any history of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from conduit_py.data import rooms as room_data
from conduit_py.data.rooms import Room
from conduit_py.data.state import LooseState
from conduit_py.matrix.auth.select import select_auth_types
from conduit_py.matrix.event_builder import build_event
from conduit_py.matrix.ids import EventId, RoomId, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.federation.receive.state_told import lay_out_state
from conduit_py.service.rooms.receive import Arrival, Receipt, Standing
from conduit_py.service.rooms.resolution import Resolutions
from conduit_py.service.rooms.write import RoomWrites
from tests.rig.remote_room import RemoteRoom
from tests.rig.rooms import RoomServer, create, set_state
from tests.rig.server import START_MS

MEMBER = "m.room.member"
LATER_MS = START_MS + 365 * 86_400_000
"""After all that is done here: of two settings that conflict, the later one wins."""
POWER = {"users_default": 0, "state_default": 50, "events_default": 0, "invite": 0}


@dataclass
class Step:
    """An event, and the state before it if that is told."""

    pdu: Pdu
    told: Sequence[EventId] | None = None


def limit_entries(rooms: RoomServer, most: int) -> RoomWrites:
    """The same operations, with a limit to what is done at once."""
    store, append = rooms.store, rooms.writes.append
    resolutions = Resolutions(store.database, has_threads=True, entries_max=most)
    tools = replace(append.tools, resolutions=resolutions)
    return RoomWrites(store.database, store.writer, store.locks, replace(append, tools=tools))


def require_room(rooms: RoomServer, room_id: RoomId) -> Room:
    with rooms.store.snapshot() as snapshot:
        room = room_data.get_room(snapshot, room_id)
    assert room is not None
    return room


class Crowd:
    """A room of alice's with bob of another server in it, and many others whom only that server tells of."""

    def __init__(self, rooms: RoomServer, peer: RemoteRoom) -> None:
        self.rooms = rooms
        self.peer = peer
        self.state = dict(peer.resolve(peer.ends))

    def user(self, number: int) -> UserId:
        return UserId(f"@user{number}:server{number % 3}.test")

    def loose(self, user: UserId, membership: str, *, sender: UserId | None = None, **content: Any) -> Pdu:
        """A membership event whose surroundings nobody tells."""
        return self.event(sender or user, MEMBER, {"membership": membership, **content}, state_key=user)

    def event(
        self,
        sender: UserId,
        type: str,
        content: dict[str, Any],
        *,
        state_key: str | None = None,
        prev: Sequence[EventId] = (EventId("$missing"),),
    ) -> Pdu:
        version = self.peer.version
        keys = select_auth_types(version, type=type, sender=sender, state_key=state_key, content=content)
        proto = build_event(
            room_version=version,
            room_id=self.peer.room_id,
            type=type,
            sender=sender,
            state_key=state_key,
            content=content,
            prev_events=list(prev),
            auth_events=[self.state[key] for key in keys if key in self.state],
            depth=100,
            origin_server_ts=LATER_MS,
            redacts=None,
        )
        return self.peer.sign(proto)

    def say(self, text: str, **more: Any) -> Pdu:
        return self.event(self.peer.user("bob"), "m.room.message", {"body": text}, **more)

    async def store(self, pdus: Sequence[Pdu]) -> list[EventId]:
        receipts = await self.rooms.writes.store_outliers(self.peer.room_id, pdus)
        assert all(isinstance(it, Receipt) and it.standing is Standing.OUTLIER for it in receipts), receipts
        return [pdu.event_id for pdu in pdus]

    async def know_users(self, count: int) -> None:
        """Their short ids are handed out."""
        store = self.rooms.store
        async with store.writer.turn() as turn:
            with store.snapshot() as snapshot:
                for number in range(count):
                    store.ids.intern_user(snapshot, turn, self.user(number))
                    store.ids.intern_state_key(snapshot, turn, MEMBER, self.user(number))


async def gather(rooms: RoomServer) -> Crowd:
    alice = await rooms.register("alice")
    room_id = await create(alice, preset="public_chat")
    peer = RemoteRoom(rooms, room_id)
    await rooms.writes.receive(peer.room_id, [Arrival(pdu=peer.join("bob"))])
    levels = {**POWER, "users": {alice.user_id: 100, peer.user("bob"): 100}}
    await set_state(alice, room_id, "m.room.power_levels", levels)
    peer.learn()
    return Crowd(rooms, peer)


async def take(
    rooms: RoomServer, writes: RoomWrites, room_id: RoomId, steps: Sequence[Step], events: Sequence[int] = ()
) -> list[Receipt]:
    """Receive them one by one, at the positions ``events`` if there are any."""
    receipts = []
    for number, step in enumerate(steps):
        told: LooseState | None = None
        if step.told is not None:
            told = await lay_out_state(rooms.store.database, writes, require_room(rooms, room_id).short, step.told)
        if events:
            rooms.store.writer._positions.last = events[number] - 1
        [receipt] = await writes.receive(room_id, [Arrival(pdu=step.pdu, told=told)])
        assert isinstance(receipt, Receipt)
        assert receipt.standing is Standing.ACCEPTED, receipt
        receipts.append(receipt)
    return receipts
