"""A server with a user, and another server that asks it for things of rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from kvschema.engine import Engine
from tests.rig.client import Client
from tests.rig.network import Network, Node, open_network
from tests.rig.peer import Peer, open_peer
from tests.rig.rooms import in_room

VERSIONS = ("1", "3", "6", "8", "10", "11", "12")


@dataclass
class Scene:
    """Alice on one.test, and two.test, which asks."""

    one: Node
    alice: Client
    two: Peer

    def leaves_no_trace(self) -> AbstractAsyncContextManager[None]:
        return self.one.leaves_no_trace()

    async def membership(self, room_id: str, user_id: str) -> str | None:
        response = await self.alice.get(in_room(room_id, "state", "m.room.member", user_id))
        return response.json.get("membership") if response.status == 200 else None


@asynccontextmanager
async def open_scene(make_engine: Callable[[], Engine]) -> AsyncIterator[Scene]:
    async with open_network(make_engine, "one.test") as network:
        yield await set_up_scene(network)


async def set_up_scene(network: Network) -> Scene:
    """The same in a network that is there already."""
    one = network["one.test"]
    return Scene(one, await one.register("alice"), await open_peer(one))
