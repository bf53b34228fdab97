"""Resolving states in a worker thread: the same comes out, and the event loop goes on meanwhile."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import trio

from conduit_py.data import rooms as room_data
from conduit_py.data import short_ids, timeline
from conduit_py.data.state import StateChain
from conduit_py.matrix.ids import EventId
from conduit_py.service.rooms import resolution
from conduit_py.service.rooms.receive import Arrival, Receipt
from conduit_py.service.rooms.resolution import Resolutions
from conduit_py.service.rooms.write import RoomWrites
from tests.rig.random_events import USERS, levels, make_any, order_of
from tests.rig.remote_room import RemoteRoom
from tests.rig.rooms import RoomServer, create, set_state


def with_threads(rooms: RoomServer) -> RoomWrites:
    store, append = rooms.store, rooms.writes.append
    tools = replace(append.tools, resolutions=Resolutions(store.database, has_threads=True))
    return RoomWrites(store.database, store.writer, store.locks, replace(append, tools=tools))


async def begin(rooms: RoomServer, version: str) -> RemoteRoom:
    alice = await rooms.register("alice")
    peer = RemoteRoom(rooms, await create(alice, room_version=version))
    await rooms.writes.receive(peer.room_id, [Arrival(pdu=peer.join(user)) for user in USERS])
    power = levels(peer, version, bob=100, carol=50, dave=0)
    await set_state(alice, peer.room_id, "m.room.power_levels", power)
    peer.learn()
    return peer


def check_states(rooms: RoomServer, peer: RemoteRoom) -> None:
    with rooms.store.snapshot() as snapshot:
        chain = StateChain(snapshot)
        room = room_data.get_room(snapshot, peer.room_id)
        assert room is not None
        ends = [EventId(timeline.require_row(snapshot, end).event_id) for end in room.extremities]
        laid_out = {}
        for key, event in chain.entries(room.state_id).items():
            record = short_ids.get_state_key_record(snapshot, key)
            laid_out[record.type, record.state_key] = timeline.require_row(snapshot, event).event_id
        assert laid_out == peer.resolve(ends)


@pytest.mark.parametrize("version", ["1", "2", "11", "12"])
@pytest.mark.parametrize("reads_max", [0, 3, 25])
async def test_resolution_in_a_thread_is_the_same(
    rooms: RoomServer, version: str, reads_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolution, "READS_MAX", reads_max)
    monkeypatch.setattr(resolution, "LOADED_AT_ONCE", 2)
    chance = random.Random(reads_max)
    peer, writes = await begin(rooms, version), with_threads(rooms)
    made = order_of([make_any(peer, chance) for _ in range(40)], chance)
    receipts = await writes.receive(peer.room_id, [Arrival(pdu=pdu) for pdu in made])
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    check_states(rooms, peer)


async def test_event_loop_goes_on_while_a_large_conflict_is_resolved(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sides that have each set much: on the loop it would all be done in one step."""
    peer, writes = await begin(rooms, "12"), with_threads(rooms)
    fork = peer.ends
    sides = []
    for side in ("left", "right"):
        prev = fork
        for number in range(60):
            pdu = peer.set("bob", "org.example.state", {"side": side}, f"{number}", prev=prev)
            prev = (pdu.event_id,)
            sides.append(pdu)
    steps: list[float] = []
    resolved: list[int] = []
    run = trio.to_thread.run_sync

    async def count(*args: object, **more: object) -> object:
        resolved.append(len(steps))
        return await run(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(trio.to_thread, "run_sync", count)

    async def tick() -> None:
        while True:
            steps.append(trio.current_time())
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await writes.receive(peer.room_id, [Arrival(pdu=pdu) for pdu in sides])
        nursery.cancel_scope.cancel()
    assert resolved
    check_states(rooms, peer)


async def test_room_can_be_written_to_by_others_only_after_a_resolution(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is resolved must be true when it is stored."""
    monkeypatch.setattr(resolution, "READS_MAX", 0)
    peer, writes = await begin(rooms, "11"), with_threads(rooms)
    fork = peer.ends
    made = [peer.set("bob", "m.room.topic", {"topic": f"{number}"}, prev=fork) for number in range(6)]
    async with trio.open_nursery() as nursery:
        for pdu in made:
            nursery.start_soon(writes.receive, peer.room_id, [Arrival(pdu=pdu)])
    check_states(rooms, peer)
