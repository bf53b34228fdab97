"""A backup of very many keys comes back whole, and the server never has it in memory as a whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rig.process import ServerProcess, check_files
from tests.rig.wire import WireClient, register
from tests.scenario.conversation import BACKUP

KEYS = 100_000
KEYS_PER_REQUEST = 5_000
SECRET = "x" * 500
GROWTH_MIB_MAX = 32
"""The backup is 60 MiB as JSON."""


def own_mib(pid: int) -> int:
    """The memory of the process, without what it sees of its files."""
    (line,) = (it for it in Path(f"/proc/{pid}/status").read_text().splitlines() if it.startswith("RssAnon"))
    return int(line.split()[1]) // 1024


@contextmanager
def watch_memory(pid: int) -> Iterator[list[int]]:
    """What the process has at one time and another in the block."""
    seen = [own_mib(pid)]
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.01):
            seen.append(own_mib(pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        watcher.join()


def upload(client: WireClient, version: str) -> None:
    for start in range(0, KEYS, KEYS_PER_REQUEST):
        key = {"first_message_index": 0, "forwarded_count": 0, "is_verified": False}
        sessions = {
            f"session{number:06}": {**key, "session_data": {"ciphertext": SECRET, "number": number}}
            for number in range(start, start + KEYS_PER_REQUEST)
        }
        rooms = {"rooms": {f"!room{start}:one.test": {"sessions": sessions}}}
        answer = client.require("PUT", f"/room_keys/keys?version={version}", rooms)
        assert answer["count"] == start + KEYS_PER_REQUEST


@pytest.mark.slow
def test_backup_of_many_keys_is_restored_in_little_memory(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.start()
        token = register(server.address, "alice")["access_token"]
        with WireClient(server.address, token) as client:
            info = {"algorithm": BACKUP, "auth_data": {"public_key": "abc"}}
            version = client.post("room_keys", "version", json=info)["version"]
            upload(client, version)
            assert client.get("room_keys", "version")["count"] == KEYS
        server.stop()
        server.start()
        with WireClient(server.address, token) as client:
            client.get("room_keys", "version")
            with watch_memory(server.pid) as seen:
                kept = client.get("room_keys", "keys", version=version)
            assert len(seen) > 10
            assert max(seen) - seen[0] < GROWTH_MIB_MAX
        numbers = [
            row["session_data"]["number"] for room in kept["rooms"].values() for row in room["sessions"].values()
        ]
        assert sorted(numbers) == list(range(KEYS))
        server.stop()
    assert check_files(server.data) == []
