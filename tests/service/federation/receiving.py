"""A server that receives, and others that send it what they like and answer its questions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from conduit_py.config import IgnoredKeys
from conduit_py.data import server_keys, timeline
from conduit_py.matrix.hashes import content_hash, encode_base64
from conduit_py.matrix.ids import EventId, ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.signing import VerifyKey, sign_event
from conduit_py.service.federation.checks import Checks
from conduit_py.service.federation.key_store import KeyStore
from conduit_py.service.federation.keys import KeyRing
from conduit_py.service.federation.own_keys import OwnKeys
from conduit_py.service.federation.receive.backfill import Backfill
from conduit_py.service.federation.receive.missing import MissingEventsFetcher
from conduit_py.service.federation.receive.receiver import EduHandlers, Receiver
from conduit_py.service.federation.receive.room_events import RoomEvents
from conduit_py.service.server_keys import load_signing_key
from kvschema.catalog.timeline import EventRow
from kvschema.catalog.transactions import WAITINGPDU
from tests.rig.client import Client
from tests.rig.remote_room import RemoteRoom
from tests.rig.rooms import RoomServer, create, in_room
from tests.rig.server import SERVER_NAME, START_MS
from tests.service.federation.servers import DAY_MS, Source

PREV_EVENTS_MAX = 20


class Receiving:
    """Made by ``open_receiving``."""

    def __init__(self, rooms: RoomServer, receiver: Receiver) -> None:
        self.rooms = rooms
        self.receiver = receiver
        self._sent = 0

    async def send(
        self, peer: RemoteRoom, *pdus: Pdu | Mapping[str, Any], edus: Any = (), txn_id: str | None = None
    ) -> dict[str, Any]:
        """One transaction; what was answered for each event."""
        self._sent += 1
        texts = [encode(pdu.json if isinstance(pdu, Pdu) else pdu) for pdu in pdus]
        answer = await self.receiver.receive_transaction(
            peer.name, txn_id or f"sent{self._sent}", texts, [encode(edu) for edu in edus]
        )
        results: dict[str, Any] = json.loads(answer)
        return results

    async def know(self, peer: RemoteRoom) -> None:
        """Have the peer's key, and a way to ask it."""
        key = VerifyKey(peer.key.key_id, peer.key.public_key, START_MS + DAY_MS)
        async with self.rooms.store.writer.turn() as turn:
            server_keys.stage_keys(turn, peer.name, key)
        self.rooms.remotes.servers[peer.name] = peer.answer

    def cut(self) -> None:
        """From now on nobody answers."""
        self.rooms.remotes.servers = {"nobody.test": lambda question: {}}

    @property
    def asked(self) -> list[str]:
        """The kinds of questions that were asked, in order."""
        return [question.segments[2] for question in self.rooms.remotes.asked]


def encode(value: Any) -> bytes:
    """What a server might send that does not look at what it sends."""
    return json.dumps(value, separators=(",", ":")).encode()


@asynccontextmanager
async def open_receiving(rooms: RoomServer, edu_handlers: EduHandlers) -> AsyncIterator[Receiving]:
    store = rooms.store
    signing_key = await load_signing_key(store.database, store.writer, random_bytes=lambda count: b"k" * count)
    own_keys = OwnKeys(ServerName(SERVER_NAME), signing_key, now_ms=store.now_ms)
    ring = KeyRing(store, KeyStore(store, IgnoredKeys(frozenset(), {})), Source(), own_keys, trusted_servers=[])
    checks = Checks(ring, now_ms=store.now_ms, has_threads=False)
    missing = MissingEventsFetcher(
        store.database,
        rooms.writes,
        rooms.remotes,
        checks,
        prev_events_max=PREV_EVENTS_MAX,
        now_ms=store.now_ms,
    )
    room_events = RoomEvents(store.database, rooms.writes, checks, missing, server_name=own_keys.server_name)
    rooms.remotes.history.source = Backfill(store.database, rooms.writes, rooms.remotes, missing, now_ms=store.now_ms)
    receiver = Receiver(store, room_events, edu_handlers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiver.run)
        await trio.testing.wait_all_tasks_blocked()
        yield Receiving(rooms, receiver)
        nursery.cancel_scope.cancel()


class Edus:
    """What was handed on of EDUs."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Mapping[str, Any]]] = []

    async def take(self, origin: ServerName, content: Mapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.taken.append((origin, content))


async def begin(receiving: Receiving, version: str = "11") -> tuple[Client, RemoteRoom]:
    """A room of alice's that bob of two.test has joined."""
    alice = await receiving.rooms.register("alice")
    peer = RemoteRoom(receiving.rooms, await create(alice, room_version=version))
    await receiving.know(peer)
    join = peer.join("bob")
    assert await receiving.send(peer, join) == {join.event_id: {}}
    return alice, peer


async def shown(reader: Client, peer: RemoteRoom) -> list[str]:
    response = await reader.get(in_room(peer.room_id, "messages"), dir="b", limit="1000")
    assert response.status == 200
    return [event["content"]["body"] for event in response.json["chunk"] if "body" in event["content"]][::-1]


def row_of(rooms: RoomServer, event_id: str) -> EventRow | None:
    with rooms.store.snapshot() as snapshot:
        found = timeline.find_row(snapshot, EventId(event_id))
        return None if found is None else found[1]


def hold_back(receiving: Receiving) -> trio.Event:
    """Let every question wait for the event that is returned."""
    release, fetch = trio.Event(), receiving.rooms.remotes.fetch

    async def wait(*args: Any, **more: Any) -> Any:
        await release.wait()
        return await fetch(*args, **more)

    receiving.rooms.remotes.fetch = wait  # type: ignore[method-assign]
    return release


def count_waiting(receiving: Receiving) -> int:
    with receiving.rooms.store.snapshot() as snapshot:
        return snapshot.count(WAITINGPDU.name)


def signed(peer: RemoteRoom, json: Mapping[str, Any], own_hash: Any = None) -> Mapping[str, Any]:
    """The event with the hash and the signature that belong to it."""
    kept = {key: value for key, value in json.items() if key not in ("hashes", "signatures")}
    kept["hashes"] = own_hash or {"sha256": encode_base64(content_hash(kept, peer.version))}
    return sign_event(kept, peer.version, server_name=peer.name, signing_key=peer.key)
