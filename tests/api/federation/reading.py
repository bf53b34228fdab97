"""What the tests of operations by which other servers read begin with."""

from __future__ import annotations

import secrets
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from conduit_py.matrix.ids import EventId, RoomId, ServerName, UserId
from conduit_py.outbound.federation import build_path
from conduit_py.service.rooms.append import Append, RoomAppend
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from tests.rig.client import Client, Response
from tests.rig.network import Node
from tests.rig.peer import Peer, open_peer
from tests.rig.rooms import create, send
from tests.rig.writing import make_tools

Json = dict[str, Any]
BOB = "@bob:two.test"
V1 = ("_matrix", "federation", "v1")


@dataclass(frozen=True, slots=True)
class Reader:
    """Another server that asks for things below ``/_matrix/federation/v1``."""

    peer: Peer

    async def get(self, *segments: str, **query: str | list[str]) -> Response:
        return await self.peer.request("GET", build_path(*V1, *segments, query=query))

    async def post(self, content: Json, *segments: str) -> Response:
        return await self.peer.request("POST", build_path(*V1, *segments), content)


@dataclass(frozen=True, slots=True)
class Shared:
    """A room on one.test with Alice, who made it, and Bob of two.test, who joined it."""

    node: Node
    alice: Client
    room_id: str
    two: Reader
    three: Reader
    """Of a server that has nobody in the room."""

    async def get_unsigned(self, path: str) -> Response:
        """What somebody gets who does not prove to be a server."""
        reply = await self.node.handle("GET", f"/_matrix/federation/v1/{path}", {}, b"")
        return Response(reply.status, reply.headers, reply.body)

    def leaves_no_trace(self) -> AbstractAsyncContextManager[None]:
        return self.node.leaves_no_trace()


async def open_readers(node: Node, **room: Any) -> Shared:
    """The same without Bob."""
    alice = await node.register("alice")
    room_id = await create(alice, **room)
    two, three = [Reader(await open_peer(node, name)) for name in ("two.test", "three.test")]
    return Shared(node, alice, room_id, two, three)


async def open_shared(node: Node, **room: Any) -> Shared:
    shared = await open_readers(node, **room)
    await put_member(node, shared.room_id, BOB, "join")
    return shared


async def send_many(shared: Shared, count: int) -> list[str]:
    """Event ids of that many messages, the oldest first."""
    return [await send(shared.alice, shared.room_id, f"message {number}") for number in range(count)]


async def put_event(
    node: Node, room_id: str, sender: str, type: str, content: Json, *, state_key: str | None = None
) -> str:
    """Let the server have an event of any user, as if it had come from that user's server. Returns its id."""

    def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> EventId:
        pdu = append.create_event(sender=UserId(sender), type=type, content=content, state_key=state_key)
        append.append(pdu)
        return pdu.event_id

    store, server_name = node.store, ServerName(node.name)
    append = Append(
        tools=make_tools(store, node.built.hub, server_name),
        signing_key=node.built.federation.own_keys.signing_key,
        new_event_id=lambda: EventId(f"${secrets.token_urlsafe(18)}:{server_name}"),
    )
    return await RoomWrites(store.database, store.writer, store.locks, append).write(RoomId(room_id), stage)


async def put_member(node: Node, room_id: str, user_id: str, membership: str, *, sender: str | None = None) -> str:
    """The same for a membership."""
    content = {"membership": membership}
    return await put_event(node, room_id, sender or user_id, "m.room.member", content, state_key=user_id)
