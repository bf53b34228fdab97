"""Many people wait for news at the same time: what they cost, that each is answered, that who leaves is forgotten."""

from __future__ import annotations

import re
import resource
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rig.process import ServerProcess
from tests.rig.wire import WireClient

USERS = 40
POLLS_EACH = 50
POLL_KIB_MAX = 60
ANSWER_S_MAX = 30


def register(server: ServerProcess, name: str) -> WireClient:
    client = WireClient(server.address)
    body = {"username": name, "password": "secret", "auth": {"type": "m.login.dummy"}}
    client.access_token = client.post("register", json=body)["access_token"]
    return client


def metric(server: ServerProcess, name: str) -> float:
    host, port = server.metrics_address
    with urllib.request.urlopen(f"http://{host}:{port}/metrics") as reply:
        found = re.search(rf"^{name} (\S+)$", reply.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_until(is_so: Callable[[], bool]) -> None:
    """Each look asks the server, so there is no need to pause."""
    deadline = time.monotonic() + ANSWER_S_MAX
    while not is_so():
        assert time.monotonic() < deadline


def anonymous_kib(server: ServerProcess) -> int:
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.slow
def test_two_thousand_long_polls_are_small_answered_and_freed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    polls_max = USERS * POLLS_EACH
    # Who comes online is news to everybody else, and would answer their polls.
    quiet = {"CONDUIT_ALLOW_LOCAL_PRESENCE": "false"}
    with ServerProcess(tmp_path, quiet) as server, ExitStack() as stack:
        server.start()
        users = [stack.enter_context(register(server, f"user{number}")) for number in range(USERS)]
        room_id = users[0].post("createRoom", json={"preset": "public_chat"})["room_id"]
        for user in users[1:]:
            user.post("join", room_id, json={})
        before_kib = anonymous_kib(server)
        polls = []
        for user in users:
            since = user.get("sync")["next_batch"]
            for _ in range(POLLS_EACH):
                poll = stack.enter_context(WireClient(server.address, user.access_token))
                poll.send("GET", f"/sync?timeout=60000&since={since}")
                polls.append(poll)
        wait_until(lambda: metric(server, "conduit_py_sync_waiting") == polls_max)
        poll_kib = (anonymous_kib(server) - before_kib) / polls_max
        record_property("kib_for_each_poll", poll_kib)
        assert poll_kib <= POLL_KIB_MAX

        # Half of them hang up: they are forgotten at once.
        for poll in polls[::2]:
            poll.close()
        wait_until(lambda: metric(server, "conduit_py_sync_waiting") == polls_max / 2)

        # The others are told of an event, each and all.
        started = time.monotonic()
        event_id = users[0].put(
            "rooms", room_id, "send", "m.room.message", "t1", json={"msgtype": "m.text", "body": "hi"}
        )["event_id"]
        for poll in polls[1::2]:
            status, body = poll.receive()
            assert status == 200
            assert event_id.encode() in body
        record_property("seconds_to_answer_half", time.monotonic() - started)
        assert metric(server, "conduit_py_sync_waiting") == 0
        server.stop()
