"""One-time keys that many claim at once, of a server that is killed meanwhile: no key is handed out twice."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, cast

from tests.rig.client import Client
from tests.rig.crypto import ALGORITHM, Keys
from tests.rig.process import PATIENCE_S, ServerProcess, check_files
from tests.rig.wire import Disconnected, WireClient, register

CLAIMERS = 20
CLAIMS = 1000
KEYS = 100
FALLBACK = f"{ALGORITHM}:F1000"


class Claims:
    """What was handed out, over all runs of the server."""

    def __init__(self, session: dict[str, Any]) -> None:
        self._session = session
        self._lock = threading.Lock()
        self.names: Counter[str] = Counter()
        self.answered = threading.Condition(self._lock)
        self.broken = 0
        """Claims without an answer: a key may be lost, and must not come to anybody else."""

    def claim(self, client: WireClient) -> bool:
        """False if the server has gone."""
        wanted = {self._session["user_id"]: {self._session["device_id"]: ALGORITHM}}
        try:
            answer = client.post("keys", "claim", json={"one_time_keys": wanted})
        except Disconnected:
            with self._lock:
                self.broken += 1
            return False
        (name,) = answer["one_time_keys"][self._session["user_id"]][self._session["device_id"]]
        with self.answered:
            self.names[name] += 1
            self.answered.notify_all()
        return True

    def kill_after(self, server: ServerProcess, count: int) -> None:
        """Kill the server when so many more were answered."""
        with self.answered:
            wanted = self.names.total() + count
            assert self.answered.wait_for(lambda: self.names.total() >= wanted, timeout=PATIENCE_S)
        server.kill()

    def run(self, server: ServerProcess, count: int) -> None:
        """So many claims by ``CLAIMERS`` at once, or until the server has gone."""

        def work() -> None:
            with WireClient(server.address, self._session["access_token"]) as client:
                for _ in range(count // CLAIMERS):
                    if not self.claim(client):
                        return

        with ThreadPoolExecutor(CLAIMERS) as pool:
            for future in [pool.submit(work) for _ in range(CLAIMERS)]:
                future.result()

    def check(self) -> None:
        """No key but the fallback key came twice."""
        twice = {name: number for name, number in self.names.items() if number > 1 and name != FALLBACK}
        assert twice == {}


def begin(server: ServerProcess) -> Claims:
    """A device with ``KEYS`` keys and a fallback key."""
    session = register(server.address, "alice")
    session.update(type="session")
    owner = Client(cast("Any", None))
    owner.use_session(session)
    keys = Keys(owner)
    body = {"device_keys": keys.device_keys(), "one_time_keys": keys.one_time_keys(*range(KEYS))}
    with WireClient(server.address, session["access_token"]) as client:
        client.post("keys", "upload", json={**body, "fallback_keys": keys.fallback_keys(1000)})
    return Claims(session)


def test_a_thousand_claims_at_once_hand_out_each_key_once_and_then_the_fallback_key(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.start()
        claims = begin(server)
        claims.run(server, CLAIMS)
        claims.check()
        assert claims.names.pop(FALLBACK) == CLAIMS - KEYS
        assert set(claims.names) == {f"{ALGORITHM}:{number:04}" for number in range(KEYS)}
        server.stop()
    assert check_files(server.data) == []


def test_killed_server_hands_out_no_key_twice(tmp_path: Path) -> None:
    chance = Random(1)
    with ServerProcess(tmp_path) as server:
        server.start()
        claims = begin(server)
        kills = 0
        while FALLBACK not in claims.names:
            with ThreadPoolExecutor(1) as killer:
                killed = killer.submit(claims.kill_after, server, chance.randrange(15, 30))
                claims.run(server, CLAIMS)
                killed.result()
            kills += 1
            assert check_files(server.data) == []
            server.start()
        claims.run(server, CLAIMERS)
        claims.check()
        assert claims.broken > 0
        assert kills > 1
        assert len(claims.names) - 1 + claims.broken >= KEYS, "a key is lost only with a claim that nobody answered"
        server.stop()
    assert check_files(server.data) == []
