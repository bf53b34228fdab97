"""Stopping in order, and clients that go away without a word."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from conduit_py.http import HttpConfig
from tests.crash.load import read_timelines
from tests.rig.process import PATIENCE_S, ServerProcess
from tests.rig.wire import Disconnected, WireClient, path, register

LONG_POLL_MS = 300_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path) as server:
        server.start()
        yield server


class People:
    """Alice waits for news, Bob writes in a room of his own."""

    def __init__(self, server: ServerProcess, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self.alice, self.bob = (self._client(register(server.address, name)) for name in ("alice", "bob"))
        self.room_id: str = self.bob.post("createRoom", json={})["room_id"]
        self.since: str = self.alice.get("sync", timeout="0")["next_batch"]

    def _client(self, session: Any) -> WireClient:
        return self._stack.enter_context(WireClient(self._server.address, session["access_token"]))

    def long_polls(self, count: int) -> list[WireClient]:
        """So many requests of Alice that wait by the time this returns."""
        polls = [WireClient(self._server.address, self.alice.access_token) for _ in range(count)]
        for poll in polls:
            self._stack.enter_context(poll)
            poll.send("GET", f"/sync?timeout={LONG_POLL_MS}&since={self.since}")
        wait_until(self._server, lambda: read_waiting(self._server) == count)
        return polls

    def begin_to_send(self, count: int) -> list[WireClient]:
        """So many messages of Bob on their way, each on a connection of its own."""
        senders = [WireClient(self._server.address, self.bob.access_token) for _ in range(count)]
        for number, sender in enumerate(senders):
            self._stack.enter_context(sender)
            target = path("rooms", self.room_id, "send", "m.room.message", str(number))
            sender.send("PUT", target, {"msgtype": "m.text", "body": str(number)})
        return senders


@pytest.fixture
def people(server: ServerProcess) -> Iterator[People]:
    with ExitStack() as stack:
        yield People(server, stack)


def read_metric(server: ServerProcess, name: str) -> float:
    with WireClient(server.metrics_address) as client:
        client.send_raw(b"GET /metrics HTTP/1.1\r\nHost: one.test\r\n\r\n")
        status, body = client.receive()
    assert status == 200
    found = re.search(rf"^{name} (\S+)$", body.decode(), re.MULTILINE)
    assert found is not None, body
    return float(found[1])


def read_waiting(server: ServerProcess) -> float:
    return read_metric(server, "conduit_py_sync_waiting")


def wait_until(server: ServerProcess, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        server.let_run(0.01)


def test_stopping_server_answers_long_polls_with_nothing_new(server: ServerProcess, people: People) -> None:
    polls = people.long_polls(20)
    server.signal(signal.SIGTERM)
    for poll in polls:
        status, body = poll.receive()
        reply = orjson.loads(body)
        assert (status, reply["next_batch"]) == (200, people.since)
        assert not reply.get("rooms", {}).get("join")
    server.wait_stopped()


def test_stopping_server_lands_what_it_acknowledges(server: ServerProcess, people: People) -> None:
    people.long_polls(5)
    senders = people.begin_to_send(50)
    first = orjson.loads(senders[0].receive()[1])["event_id"]
    server.signal(signal.SIGTERM)
    acknowledged = {first}
    for sender in senders[1:]:
        try:
            status, body = sender.receive()
        except Disconnected:
            continue
        assert status == 200, body
        acknowledged.add(orjson.loads(body)["event_id"])
    server.wait_stopped()
    timelines, _ = read_timelines(server.data)
    assert acknowledged <= {event_id for event_id, _ in timelines[people.room_id]}


def test_stopped_server_goes_on_where_it_was(server: ServerProcess, people: People) -> None:
    server.stop()
    server.start()
    with WireClient(server.address, people.alice.access_token) as alice:
        assert not alice.get("sync", since=people.since, timeout="0").get("rooms", {}).get("join")
    server.stop()


def test_server_without_requests_stops_at_once(server: ServerProcess) -> None:
    begun = time.monotonic()
    server.stop()
    grace_s = HttpConfig(hosts=("127.0.0.1",)).grace_s
    assert time.monotonic() - begun < grace_s, "requests that go on would have been given as long"


def test_interrupt_stops_as_sigterm_does(server: ServerProcess) -> None:
    server.signal(signal.SIGINT)
    server.wait_stopped()


def test_second_server_on_the_same_files_is_refused(server: ServerProcess, tmp_path: Path) -> None:
    other = ServerProcess(tmp_path)
    other.start(wait=False)
    assert other.wait_refused() == f"another server is running on {server.data}: stop it first"
    server.stop()


def test_long_polls_whose_clients_hang_up_are_freed(server: ServerProcess, people: People) -> None:
    for poll in people.long_polls(200):
        poll.close()
    wait_until(server, lambda: read_waiting(server) == 0)
    assert people.alice.get("sync", timeout="0", since=people.since)["next_batch"] == people.since
    server.stop()
