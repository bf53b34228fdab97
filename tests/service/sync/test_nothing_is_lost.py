"""Many write at once, on disk and with the writer in its own thread, while others follow: nobody misses anything.

Here a snapshot may show a batch before its callbacks have run, which a writer without a thread never does.
"""

from __future__ import annotations

from pathlib import Path

import trio

from conduit_py.matrix.ids import RoomId
from conduit_py.service.requester import Requester
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine
from tests.service.sync.world import World, open_world

SENDERS = 4
MESSAGES = 30
FILTER = {"room": {"timeline": {"limit": 500, "types": ["m.room.message"]}}}


class Reader:
    """Follows by long-polling until it has seen as many messages as there will be."""

    def __init__(self, world: World, requester: Requester) -> None:
        self._world, self._requester = world, requester
        self.seen: list[str] = []

    async def read(self, since: str) -> None:
        while len(self.seen) < SENDERS * MESSAGES:
            reply = await self._world.sync(self._requester, since, filter=FILTER, timeout_ms=10_000)
            since = reply["next_batch"]
            for section in reply["rooms"]["join"].values():
                assert section["timeline"]["limited"] is False
                self.seen += [event["event_id"] for event in section["timeline"]["events"]]


async def test_everybody_is_told_everything_once(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path / "db", [tree.name for tree in CATALOG], reserve_bytes=0)
    try:
        async with open_world(engine, threaded=True) as world:
            alice, bob = await world.user("alice"), await world.user("bob")
            rooms: list[RoomId] = [await world.room(alice) for _ in range(SENDERS)]
            for room_id in rooms:
                await world.membership.join(bob, room_id)
            readers = [Reader(world, alice), Reader(world, bob)]
            tokens = [(await world.sync(reader))["next_batch"] for reader in (alice, bob)]
            sent: list[str] = []

            async def write(room_id: RoomId) -> None:
                sent.extend([await world.send(alice, room_id, f"{room_id} {number}") for number in range(MESSAGES)])

            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    for reader, token in zip(readers, tokens, strict=True):
                        nursery.start_soon(reader.read, token)
                    for room_id in rooms:
                        nursery.start_soon(write, room_id)
    finally:
        engine.close()

    for reader in readers:
        assert len(reader.seen) == len(set(reader.seen))
        assert set(reader.seen) == set(sent)
