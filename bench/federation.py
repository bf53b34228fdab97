"""How long it takes to join a large room of other servers, and what memory.

    python -m bench.federation join --members 10000

The room is made up: its members are on many servers, whose keys follow from their names, and every event is signed. One
process writes down what a server in the room would answer; another joins. Only the sockets are missing.

``receive`` joins the room first. Then its members talk, and one server brings what they say in transactions of 50
events, each when the one before it is answered: in a chain, or with ``--shape fork`` each after the same event.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from conduit_py.config import IpAddress, Proxy, load_config
from conduit_py.data.short_ids import ShortIds
from conduit_py.http.in_process import AppClient
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.event_builder import build_event, sign_and_hash
from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import EventId, KeyId, RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.signing import SigningKey, sign_json
from conduit_py.matrix.x_matrix import build_x_matrix
from conduit_py.opening import now_ms
from conduit_py.outbound.addresses import SrvAnswer
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.http import HttpClient, HttpReply, HttpStream, Target
from conduit_py.process import settle_memory
from conduit_py.server import PASSWORDS_AT_ONCE, build
from conduit_py.service.federation.receive.receiver import PDUS_MAX
from conduit_py.service.users.store import Store
from conduit_py.storage.database import open_database, record_start
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import open_writer

MIB: Final = 1 << 20
SERVER_NAME: Final = ServerName("one.test")
RESIDENT: Final = ServerName("resident.test")
VERSION: Final = ROOM_VERSIONS["11"]
ROOM_ID: Final = RoomId("!large:resident.test")
SERVERS: Final = 500
KEY_ID: Final = KeyId("ed25519:b")
PIECE_BYTES: Final = 64 * 1024
SEND: Final = "/_matrix/federation/v1/send/"
SHAPES: Final = ("chain", "fork")
T = TypeVar("T")
PAUSE_S: Final = 0.002


def key_of(server_name: str) -> SigningKey:
    return SigningKey.from_seed(KEY_ID, hashlib.sha256(server_name.encode()).digest())


class Room:
    """Makes events, one after the other."""

    def __init__(self) -> None:
        self._depth = count(1)
        self.last: list[EventId] = []
        self._keys: dict[str, SigningKey] = {}

    def add(
        self, type: str, sender: str, state_key: str | None, content: Mapping[str, Any], auth: Sequence[EventId]
    ) -> Pdu:
        server_name = ServerName(sender.partition(":")[2])
        key = self._keys.get(server_name)
        if key is None:
            key = self._keys[server_name] = key_of(server_name)
        event = build_event(
            room_version=VERSION,
            room_id=ROOM_ID,
            type=type,
            sender=UserId(sender),
            state_key=state_key,
            content=content,
            prev_events=self.last,
            auth_events=auth,
            depth=next(self._depth),
            origin_server_ts=now_ms() - 86_400_000,
        )
        pdu = sign_and_hash(event, VERSION, server_name, key)
        self.last = [pdu.event_id]
        return pdu


def write_answer(folder: Path, members: int, events_per_member: int) -> None:
    """What ``send_join`` and ``make_join`` answer, in files."""
    room, creator = Room(), f"@creator:{RESIDENT}"
    create = room.add("m.room.create", creator, "", {"room_version": VERSION.id}, [])
    first = room.add("m.room.member", creator, creator, {"membership": "join"}, [create.event_id])
    levels = room.add("m.room.power_levels", creator, "", {"users": {creator: 100}}, [create.event_id, first.event_id])
    allowing = [create.event_id, levels.event_id]
    rules = room.add("m.room.join_rules", creator, "", {"join_rule": "public"}, [*allowing, first.event_id])
    newest_of: dict[str, EventId] = {}
    with (folder / "state").open("wb") as state, (folder / "chain").open("wb") as chain:
        for pdu in (create, first, levels, rules):
            for file in (state, chain):
                file.write(b"," * bool(file.tell()) + encode_canonical_json(pdu.json, strict=True))
        newest = rules
        for number in range(members):
            user_id = f"@user{number}:server{number % SERVERS}.test"
            before: list[EventId] = []
            for name in range(events_per_member):
                content = {"membership": "join", "displayname": f"User {number} ({name})", "avatar_url": "mxc://a.b/c"}
                pdu = room.add("m.room.member", user_id, user_id, content, [*allowing, rules.event_id, *before])
                before, newest, newest_of[user_id] = [pdu.event_id], pdu, pdu.event_id
                file = state if name == events_per_member - 1 else chain
                file.write(b"," + encode_canonical_json(pdu.json, strict=True))
    template = {
        "type": "m.room.member",
        "room_id": ROOM_ID,
        "auth_events": [*allowing, rules.event_id],
        "prev_events": [newest.event_id],
        "depth": members * events_per_member + 5,
    }
    (folder / "template").write_text(json.dumps(template))
    (folder / "members").write_text(json.dumps(newest_of))


def write_talk(folder: Path, joined: Pdu, *, events: int, shape: str) -> None:
    """What members say once somebody has joined, a transaction on each line: its signature, and its body."""
    members: dict[str, EventId] = json.loads((folder / "members").read_text())
    create, levels = joined.auth_events[:2]
    room, key, chance = Room(), key_of(RESIDENT), random.Random(7)
    users = list(members)
    with (folder / "talk").open("wb") as talk:
        for start in range(0, events, PDUS_MAX):
            pdus: list[Any] = []
            for number in range(start, min(start + PDUS_MAX, events)):
                if not room.last or shape == "fork":
                    room.last = [joined.event_id]
                sender = chance.choice(users)
                content = {"msgtype": "m.text", "body": f"Message {number} of somebody in this room"}
                pdus.append(room.add("m.room.message", sender, None, content, [create, levels, members[sender]]).json)
            transaction = {"origin": RESIDENT, "origin_server_ts": now_ms(), "pdus": pdus, "edus": list[Any]()}
            body = encode_canonical_json(transaction, strict=True)
            header = build_x_matrix(
                method="PUT",
                uri=f"{SEND}{start}",
                origin=RESIDENT,
                destination=SERVER_NAME,
                body=body,
                signing_key=key,
            )
            talk.write(header.encode() + b"\t" + body + b"\n")


class Peers(HttpClient):
    """All other servers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(dns=Names(), denylist=(), proxy=Proxy(), ca_certificates=None, requests_max=100)
        self._folder = folder
        self.bytes_sent = 0
        self.joined: Pdu | None = None
        """The event with which somebody has joined."""

    async def fetch(
        self,
        method: str,
        target: Target,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        bytes_max: int,
        timeout_s: float,
    ) -> HttpReply:
        await trio.lowlevel.checkpoint()
        if path.startswith("/_matrix/key/v2/server"):
            return _json(self._build_keys(target.host))
        if "/make_join/" in path:
            user_id = "@alice:one.test"
            event = json.loads((self._folder / "template").read_text())
            event |= {"sender": user_id, "state_key": user_id, "content": {"membership": "join"}}
            return _json({"room_version": VERSION.id, "event": event})
        return HttpReply(404, {}, b"")

    def _build_keys(self, host: str) -> dict[str, Any]:
        key = key_of(host)
        published = {
            "server_name": host,
            "valid_until_ts": now_ms() + 86_400_000,
            "verify_keys": {KEY_ID: {"key": encode_base64(key.public_key)}},
            "old_verify_keys": {},
        }
        return sign_json(published, entity=host, signing_key=key)

    @asynccontextmanager
    async def stream(
        self,
        target: Target,
        path: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        method: str = "GET",
        body: bytes | None = None,
    ) -> AsyncIterator[HttpStream]:
        self.joined = parse_pdu(json.loads(body or b""), VERSION)
        async with aclosing(self._pieces()) as chunks:
            yield HttpStream(200, {}, chunks)

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        for piece in self._read():
            self.bytes_sent += len(piece)
            await trio.lowlevel.checkpoint()
            yield piece

    def _read(self) -> Iterator[bytes]:
        yield b'{"state":['
        for name in ("state", "chain"):
            with (self._folder / name).open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
            yield b'],"auth_chain":[' if name == "state" else b"]}"


class Names:
    """No server has SRV records, and no name an address: nothing here connects."""

    async def fetch_addresses(self, host: str) -> tuple[IpAddress, ...]:
        await trio.lowlevel.checkpoint()
        raise Unreachable(f"{host} cannot be looked up")

    async def fetch_srv(self, name: str) -> SrvAnswer:
        await trio.lowlevel.checkpoint()
        return SrvAnswer((), 3600.0)


def _json(value: Mapping[str, Any]) -> HttpReply:
    return HttpReply(200, {}, json.dumps(value).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    seconds: float
    answer_mib: float
    idle_mib: float
    peak_mib: float
    pause_ms: float
    """The longest time that the event loop was away."""
    busy_ms: float
    """The longest time that it computed without a break, whatever else the machine was at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    seconds: float
    cpu_seconds: float
    """Of all threads."""
    idle_mib: float
    """When the room was joined and nothing was received."""
    peak_mib: float
    busy_ms: float


@dataclass(frozen=True, slots=True)
class Running:
    """A server with one user, and other servers around it."""

    app: AppClient
    token: str
    peers: Peers
    services: trio.Nursery

    async def join(self) -> None:
        await _ask(self.app, f"/_matrix/client/v3/join/{ROOM_ID}?via={RESIDENT}", {}, self.token)


@asynccontextmanager
async def open_server(folder: Path) -> AsyncIterator[Running]:
    """With a database of its own on LMDB, which a thread writes to."""
    data = folder / "data"
    variables = {
        "CONDUIT_SERVER_NAME": SERVER_NAME,
        "CONDUIT_DATABASE_PATH": str(data),
        "CONDUIT_ALLOW_REGISTRATION": "true",
        "CONDUIT_ALLOW_FEDERATION": "true",
        "CONDUIT_TRUSTED_SERVERS": "[]",
        "CONDUIT_RATE_LIMITS__ENABLED": "false",
    }
    config = load_config(None, variables).config
    database = open_database(data, SERVER_NAME, cache_bytes=int(config.db_cache_capacity_mb * MIB), reserve_bytes=0)
    peers = Peers(folder)
    last_pos = record_start(database.engine, time.time_ns() // 1000)
    async with (
        open_writer(database.engine, database.cache, last_pos=last_pos, threaded=True) as writer,
        trio.open_nursery() as services,
    ):
        store = Store(database=database, writer=writer, locks=KeyedLocks(), ids=ShortIds(), now_ms=now_ms)
        server = await build(
            config, store, hash_limiter=trio.CapacityLimiter(PASSWORDS_AT_ONCE), dns=Names(), http=peers
        )
        for task in server.tasks:
            services.start_soon(task)
        settle_memory()
        app = AppClient(server.app)
        account = {"username": "alice", "password": "wonderland", "auth": {"type": "m.login.dummy"}}
        session = await _ask(app, "/_matrix/client/v3/register", account, None)
        yield Running(app, session["access_token"], peers, services)
        services.cancel_scope.cancel()
    database.engine.close()


async def join(folder: Path) -> Figures:
    """Join the room whose answers are in the folder."""
    async with open_server(folder) as running:
        idle, pauses = _resident_mib(), [0.0, 0.0]
        running.services.start_soon(_watch_pauses, pauses)
        started = time.perf_counter()
        await running.join()
        seconds = time.perf_counter() - started
    return Figures(
        seconds=seconds,
        answer_mib=running.peers.bytes_sent / MIB,
        idle_mib=idle,
        peak_mib=_peak_mib(),
        pause_ms=pauses[0] * 1000,
        busy_ms=pauses[1] * 1000,
    )


async def receive(folder: Path, events: int, shape: str) -> Received:
    """Join the room, and receive what its members say."""
    async with open_server(folder) as running:
        await running.join()
        assert running.peers.joined is not None
        write_talk(folder, running.peers.joined, events=events, shape=shape)
        idle, pauses = _peak_mib(), [0.0, 0.0]
        with (folder / "talk").open("rb") as talk:
            running.services.start_soon(_watch_pauses, pauses)
            started, computed = time.perf_counter(), time.process_time()
            for number, line in enumerate(talk):
                header, _, body = line.rstrip(b"\n").partition(b"\t")
                headers = {"Authorization": header.decode(), "Content-Type": "application/json"}
                reply = await running.app.request("PUT", f"{SEND}{number * PDUS_MAX}", headers, body)
                if reply.status != 200 or any(reply.json()["pdus"].values()):
                    raise RuntimeError(f"a transaction was answered {reply.status}: {reply.body!r}")
            seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - computed
    return Received(
        seconds=seconds, cpu_seconds=cpu_seconds, idle_mib=idle, peak_mib=_peak_mib(), busy_ms=pauses[1] * 1000
    )


async def _ask(app: AppClient, path: str, body: Mapping[str, Any], token: str | None) -> Any:
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    reply = await app.request("POST", path, headers, json.dumps(body).encode())
    if reply.status != 200:
        raise RuntimeError(f"{path} was answered {reply.status}: {reply.body!r}")
    return reply.json()


async def _watch_pauses(pauses: list[float]) -> None:
    while True:
        asked, computed = time.perf_counter(), time.thread_time()
        await trio.sleep(PAUSE_S)
        pauses[0] = max(pauses[0], time.perf_counter() - asked - PAUSE_S)
        pauses[1] = max(pauses[1], time.thread_time() - computed)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_join(members: int, events_per_member: int) -> Figures:
    """In processes of their own, so that what one of them needed is not counted for the other."""
    return _measure(members, events_per_member, join)


def measure_receive(members: int, events: int, *, shape: str) -> Received:
    """The same. ``shape`` is one of ``SHAPES``."""
    return _measure(members, 1, receive, events, shape)


def _measure(members: int, events_per_member: int, run: Callable[..., Awaitable[T]], *args: Any) -> T:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="bench-federation-") as name:
        folder = Path(name)
        with context.Pool(1, maxtasksperchild=1) as pool:
            pool.apply(write_answer, (folder, members, events_per_member))
        with context.Pool(1, maxtasksperchild=1) as pool:
            measured: T = pool.apply(trio.run, (run, folder, *args))
    return measured


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.federation", description=__doc__)
    parser.add_argument("what", choices=["join", "receive"])
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--events-per-member", type=int, default=1, help="join: the last of them is in the state")
    parser.add_argument("--events", type=int, default=5_000, help="receive: how many")
    parser.add_argument("--shape", choices=SHAPES, default="chain", help="receive: what each event follows")
    asked = parser.parse_args(arguments)
    if asked.what == "join":
        _print_join(asked.members, asked.events_per_member)
    else:
        _print_receive(asked.members, asked.events, asked.shape)


def _print_join(members: int, events_per_member: int) -> None:
    figures = measure_join(members, events_per_member)
    print(f"{members} members, {events_per_member} events each, {figures.answer_mib:.1f} MiB")
    print(f"joined in {figures.seconds:.2f} s")
    print(f"memory: {figures.idle_mib:.0f} MiB before, at most {figures.peak_mib:.0f} MiB")
    print(f"event loop: away {figures.pause_ms:.0f} ms at most, busy {figures.busy_ms:.0f} ms at most")


def _print_receive(members: int, events: int, shape: str) -> None:
    received = measure_receive(members, events, shape=shape)
    print(f"{members} members, {events} events in a {shape}")
    print(f"received in {received.seconds:.2f} s: {events / received.seconds:.0f} events each second")
    print(f"CPU time of each event: {received.cpu_seconds / events * 1000:.2f} ms")
    print(f"memory: {received.idle_mib:.0f} MiB at most before, {received.peak_mib:.0f} MiB after")
    print(f"event loop: busy {received.busy_ms:.0f} ms at most")


if __name__ == "__main__":
    main(sys.argv[1:])
