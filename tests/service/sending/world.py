"""A server that sends, and other servers that a test scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import trio
import trio.testing

from conduit_py.data import sending
from conduit_py.data.consistency import check_consistency
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import RoomId, ServerName, UserId
from conduit_py.outbound.errors import Unreachable
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.sending.backlog import Backlogs
from conduit_py.service.sending.destination import Delivery
from conduit_py.service.sending.outbox import Outbox
from conduit_py.service.sending.senders import Senders
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.sending import Sending
from kvschema.engine import Engine
from tests.rig.client import Client
from tests.rig.rooms import RoomServer, send, with_rooms
from tests.rig.server import SERVER_NAME, load_test_config, open_server

TWO, THREE = ServerName("two.test"), ServerName("three.test")
BOB, CAROL = "@bob:two.test", "@carol:three.test"
Json = dict[str, Any]


@dataclass
class Arrived:
    """A transaction that reached its server."""

    destination: str
    txn_id: str
    json: Json
    at_s: float

    @property
    def event_ids(self) -> list[str]:
        """Texts of messages, types of other events."""
        return [pdu["content"].get("body", pdu["type"]) for pdu in self.json["pdus"]]

    @property
    def edus(self) -> list[Json]:
        edus: list[Json] = self.json["edus"]
        return edus


@dataclass
class Post:
    """The other servers. What is in ``fails`` does not answer, or answers what the test says."""

    arrived: list[Arrived] = field(default_factory=list)
    attempts: list[tuple[str, str, float]] = field(default_factory=list)
    """Of all transactions, whether they arrived or not: destination, id, when."""
    fails: dict[str, Exception] = field(default_factory=dict)
    answer: Json = field(default_factory=dict)
    wait: Callable[[str], Awaitable[None]] | None = None
    """What happens before an answer."""

    async def send_transaction(self, destination: ServerName, txn_id: str, body: bytes) -> Json:
        self.attempts.append((destination, txn_id, trio.current_time()))
        assert encode_canonical_json(orjson.loads(body), strict=True) == body
        await trio.lowlevel.checkpoint()
        if self.wait is not None:
            await self.wait(destination)
        if destination in self.fails:
            raise self.fails[destination]
        self.arrived.append(Arrived(destination, txn_id, orjson.loads(body), trio.current_time()))
        return self.answer

    def cut(self, *destinations: str) -> None:
        for destination in destinations:
            self.fails[destination] = Unreachable(f"{destination} is away")

    def heal(self) -> None:
        self.fails.clear()

    def sent_to(self, destination: str) -> list[str]:
        """What arrived there, in order."""
        return [name for arrived in self.arrived if arrived.destination == destination for name in arrived.event_ids]


class World:
    """One run of a server. Made by ``open_world``."""

    def __init__(self, rooms: RoomServer, post: Post, outbox: Outbox, senders: Senders, backlogs: Backlogs) -> None:
        self.rooms = rooms
        self.store = rooms.store
        self.post = post
        self.outbox = outbox
        self.senders = senders
        self.backlogs = backlogs

    async def join(self, user_id: str, room_id: str) -> None:
        """A user of another server joins, as if by way of ``send_join``."""
        await self._member(user_id, room_id, "join")

    async def leave(self, user_id: str, room_id: str) -> None:
        await self._member(user_id, room_id, "leave")

    async def invite(self, sender: Client, user_id: str, room_id: str) -> None:
        await self._member(user_id, room_id, "invite", sender.user_id)

    async def _member(self, user_id: str, room_id: str, membership: str, sender: str = "") -> None:
        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            user = UserId(user_id)
            content = {"membership": membership}
            append.append(
                append.create_event(
                    sender=UserId(sender or user_id), type="m.room.member", state_key=user, content=content
                )
            )

        await self.rooms.writes.write(RoomId(room_id), stage)

    async def queue_edu(self, content: Json, *destinations: str, replaces: bytes | None = None) -> None:
        async with self.store.writer.turn() as turn:
            with self.store.snapshot() as snapshot:
                names = map(ServerName, destinations)
                edu = {"edu_type": "org.example", "content": content}
                self.outbox.stage_edu(snapshot, turn, names, edu, replaces=replaces)

    def waiting(self, destination: str) -> tuple[int, int]:
        """How many events and EDUs are stored for a server."""
        with self.store.snapshot() as snapshot:
            name = ServerName(destination)
            return sending.count_events(snapshot, name), len(list(sending.scan_edus(snapshot, name)))

    def state_of(self, destination: str) -> Sending:
        with self.store.snapshot() as snapshot:
            return sending.get_sending(snapshot, ServerName(destination))

    def has_nothing(self, destination: str) -> bool:
        """Neither on disk nor in memory."""
        with self.store.snapshot() as snapshot:
            known = set(sending.scan_servers(snapshot))
        return destination not in known and self.backlogs.get(ServerName(destination)) is None

    async def settle(self) -> None:
        """Let everything run until all wait for time to pass."""
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def open_world(engine: Engine, post: Post, **settings: str) -> AsyncIterator[World]:
    """A server over the engine until the block ends, as it would run after a start."""
    config = load_test_config(**settings)
    async with open_server(engine, config) as server:
        backlogs = Backlogs()
        outbox = Outbox(
            backlogs,
            server_name=ServerName(SERVER_NAME),
            is_forbidden=lambda name: name == "evil.test",
            is_allowed=True,
            now_ms=server.store.now_ms,
        )
        delivery = Delivery(server.store, post, server_name=ServerName(SERVER_NAME), random_fraction=lambda: 1.0)
        senders = Senders(server.store, backlogs, delivery, requests_max=100, is_allowed=True)
        rooms = await with_rooms(server, outbox)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(senders.run)
            yield World(rooms, post, outbox, senders, backlogs)
            nursery.cancel_scope.cancel()
        with server.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []


async def say(user: Client, room_id: str, count: int, *, start: int = 0) -> None:
    """Messages 0, 1, 2 and so on."""
    for number in range(start, start + count):
        await send(user, room_id, str(number))


def texts(count: int, start: int = 0) -> list[str]:
    return [str(number) for number in range(start, start + count)]
