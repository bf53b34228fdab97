"""People who use a server that keeps dying, and what they and the files must agree on afterwards.

Sixteen senders write at the same time, each with transaction ids of its own, and note what was acknowledged. Followers
long-poll and note what they were shown, and changers do everything else. When the server dies all of them are cut off;
when it is back the senders repeat the request that nobody answered, and the followers go on from their last token.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import orjson

from conduit_py.data.consistency import check_consistency
from conduit_py.data.timeline import client_fields
from conduit_py.matrix.sync_token import parse_sync_token
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import DIRECTORY, Database
from kvschema.catalog import CATALOG, rooms, timeline
from kvschema.catalog.timeline import ByShortEvent
from kvschema.engine.lmdb import LmdbEngine
from tests.crash.changer import Changer
from tests.rig.process import PATIENCE_S, ServerProcess
from tests.rig.wire import Disconnected, WireClient, register

SENDERS = 16
FOLLOWERS = 2
CHANGERS = 2
ROOMS = 3
TIMELINE = orjson.dumps({"room": {"timeline": {"limit": 500}}}).decode()
LOG_SHOWN = 5_000


class Acknowledgements:
    """Counts replies, and lets the one who kills wait for a number of them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self._has_failed = False

    def add(self) -> None:
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait_for_more(self, more: int) -> bool:
        """Did they come?"""
        with self._condition:
            wanted = self._count + more
            self._condition.wait_for(lambda: self._has_failed or self._count >= wanted, timeout=PATIENCE_S)
            return self._count >= wanted

    def note_end(self, task: Future[None]) -> None:
        """Somebody went home; if it was in anger there is nothing to wait for."""
        with self._condition:
            self._has_failed = self._has_failed or task.exception() is not None
            self._condition.notify_all()


class Sender:
    """Sends one message after the other to one room."""

    def __init__(self, name: str, access_token: str, room_id: str, random: Random) -> None:
        self._name = name
        self.access_token = access_token
        self.room_id = room_id
        self._random = random
        self._unanswered: str | None = None
        self.acknowledged: dict[str, str] = {}
        """Transaction id to event id."""

    def run(self, address: tuple[str, int], acknowledgements: Acknowledgements, stop: threading.Event) -> None:
        """Repeat what was not answered and something that was, then go on until the server dies."""
        with WireClient(address, self.access_token) as client:
            try:
                if self.acknowledged:
                    self._send(client, self._random.choice(list(self.acknowledged)))
                while self._unanswered or not stop.is_set():
                    self._send(client, self._unanswered or f"{self._name}-{len(self.acknowledged)}")
                    acknowledgements.add()
            except Disconnected:
                pass

    def _send(self, client: WireClient, txn_id: str) -> None:
        if txn_id not in self.acknowledged:
            self._unanswered = txn_id
        content = {"msgtype": "m.text", "body": txn_id}
        reply = client.put("rooms", self.room_id, "send", "m.room.message", txn_id, json=content)
        event_id = self.acknowledged.setdefault(txn_id, reply["event_id"])
        assert reply["event_id"] == event_id, f"{txn_id} was sent twice"
        if self._unanswered == txn_id:
            self._unanswered = None


class Follower:
    """Long-polls, and notes every event of every room in the order in which it was shown."""

    def __init__(self, access_token: str) -> None:
        self.access_token = access_token
        self._since: str | None = None
        self.shown: dict[str, list[str]] = {}

    @property
    def pos(self) -> int:
        """Position of the last token."""
        return 0 if self._since is None else parse_sync_token(self._since).pos

    def run(self, address: tuple[str, int]) -> None:
        """Until the server dies."""
        with WireClient(address, self.access_token) as client:
            try:
                while True:
                    self.poll(client, timeout_ms=30_000)
            except Disconnected:
                pass

    def poll(self, client: WireClient, *, timeout_ms: int) -> int:
        """One sync. Returns how many events it showed."""
        query = {"timeout": str(timeout_ms), "filter": TIMELINE}
        if self._since is not None:
            query["since"] = self._since
        reply = client.get("sync", **query)
        pos = parse_sync_token(reply["next_batch"]).pos
        assert pos >= self.pos, f"{reply['next_batch']} lies before {self._since}"
        found = 0
        for room_id, room in reply.get("rooms", {}).get("join", {}).items():
            assert not room["timeline"].get("limited"), "the test sends more than a timeline holds"
            event_ids = [event["event_id"] for event in room["timeline"]["events"]]
            self.shown.setdefault(room_id, []).extend(event_ids)
            found += len(event_ids)
        self._since = reply["next_batch"]
        return found


class Load:
    """Everybody. ``begin`` makes them known to a new server."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.senders: list[Sender] = []
        self.changers: list[Changer] = []
        self.followers: list[Follower] = []

    def begin(self, server: ServerProcess) -> None:
        users = [register(server.address, f"user{number}") for number in range(4)]
        anybody = {"preset": "public_chat", "power_level_content_override": {"state_default": 0}}
        with WireClient(server.address, users[0]["access_token"]) as owner:
            room_ids = [owner.post("createRoom", json=anybody)["room_id"] for _ in range(ROOMS)]
        for user in users[1:]:
            with WireClient(server.address, user["access_token"]) as client:
                for room_id in room_ids:
                    client.post("join", room_id, json={})
        for number in range(SENDERS):
            token, room_id = users[number % len(users)]["access_token"], room_ids[number % ROOMS]
            self.senders.append(Sender(f"s{number}", token, room_id, Random(self._random.random())))
        for number in range(CHANGERS):
            self.changers.append(Changer(register(server.address, f"changer{number}"), room_ids[number]))
        # The owner has seen the rooms from their first event on, so all that is in them is to be shown.
        self.followers = [Follower(users[0]["access_token"]) for _ in range(FOLLOWERS)]
        for follower in self.followers:
            with WireClient(server.address, users[0]["access_token"]) as client:
                follower.poll(client, timeout_ms=0)

    @contextmanager
    def use(self, server: ServerProcess) -> Iterator[tuple[Acknowledgements, threading.Event]]:
        """Everybody at work. The server must have died by the end of the block."""
        acknowledgements, stop = Acknowledgements(), threading.Event()
        with ThreadPoolExecutor(SENDERS + FOLLOWERS + CHANGERS) as pool:
            tasks: list[Future[None]] = [pool.submit(follower.run, server.address) for follower in self.followers]
            tasks += [pool.submit(sender.run, server.address, acknowledgements, stop) for sender in self.senders]
            tasks += [pool.submit(changer.run, server.address, stop) for changer in self.changers]
            for task in tasks:
                task.add_done_callback(acknowledgements.note_end)
            yield acknowledgements, stop
            for task in tasks:
                error = task.exception(timeout=PATIENCE_S)
                assert error is None, f"{error}\n{server.read_log()[-LOG_SHOWN:]}"

    def crash_once(self, server: ServerProcess, crash: Any) -> None:
        """Let the server run and die at some moment: mostly at work, sometimes while it starts."""
        if self._random.random() < 0.15:
            server.start(wait=False)
            server.let_run(self._random.uniform(0, 0.6))
            crash()
            return
        server.start()
        with self.use(server) as (acknowledgements, _):
            came = acknowledgements.wait_for_more(self._random.randrange(1, 150))
            server.let_run(self._random.uniform(0, 0.01))
            crash()
        assert came, server.read_log()

    def finish(self, server: ServerProcess) -> None:
        """A last run that ends in order: everybody is answered and shown everything."""
        server.start()
        with ThreadPoolExecutor(SENDERS) as pool:
            stop = threading.Event()
            stop.set()
            for task in [pool.submit(s.run, server.address, Acknowledgements(), stop) for s in self.senders]:
                task.result(timeout=PATIENCE_S)
        for follower in self.followers:
            with WireClient(server.address, follower.access_token) as client:
                while follower.poll(client, timeout_ms=0):
                    pass
        server.stop()

    def check_files(self, data: Path, *, is_finished: bool = False) -> None:
        """The files agree with themselves, with every acknowledgement, and with what was shown."""
        timelines, position = read_timelines(data)
        stored = {event_id for events in timelines.values() for event_id, _ in events}
        for sender in self.senders:
            lost = [txn_id for txn_id, event_id in sender.acknowledged.items() if event_id not in stored]
            assert not lost, f"{lost} were acknowledged and are not there"
        for changer in self.changers:
            assert set(changer.acknowledged) <= stored
        sent = Counter(body for events in timelines.values() for _, body in events if body is not None)
        assert not [txn_id for txn_id, count in sent.items() if count > 1], "sent twice"
        for follower in self.followers:
            assert follower.pos <= position
            for room_id, shown in follower.shown.items():
                events = [event_id for event_id, _ in timelines[room_id]]
                assert set(shown) <= stored, f"{set(shown) - stored} were shown and are not there"
                assert shown == (events if is_finished else events[: len(shown)])


def read_timelines(data: Path) -> tuple[dict[str, list[tuple[str, str | None]]], int]:
    """The events of each room with what they say, in order, and the position. Asserts that all is consistent."""
    engine = LmdbEngine(data / DIRECTORY, [tree.name for tree in CATALOG], reserve_bytes=0)
    with closing(engine), Database(engine, ObjectCache(0)).snapshot() as snapshot:
        assert list(check_consistency(snapshot)) == []
        timelines: dict[str, list[tuple[str, str | None]]] = {}
        for key, event in timeline.PDUID_SHORTEVENTID.scan(snapshot):
            record = rooms.SHORTROOMID_ROOM.get(snapshot, rooms.ByRoom(key.room))
            row = timeline.SHORTEVENTID_PDU.get(snapshot, ByShortEvent(rooms.ShortEventId(event)))
            assert record is not None
            assert row is not None
            body = client_fields(row)["content"].get("body")
            timelines.setdefault(record.room_id, []).append((row.event_id, body))
        return timelines, snapshot.pos
