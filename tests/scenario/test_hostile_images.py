"""A server process gets every hostile image: it answers each in time, in bounded memory, and others meanwhile."""

from __future__ import annotations

import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.rig.hostile_images import BROKEN, CORPUS, TOO_LARGE
from tests.rig.media_wire import anonymous_kib, upload_chunks
from tests.rig.process import ServerProcess
from tests.rig.wire import WireClient, register

QUERIES = (
    "width=32&height=32&method=crop",
    "width=800&height=600&method=scale",
    "width=96&height=96&method=crop&animated=true",
)
ANSWER_S_MAX = 20.0
EXTRA_MIB_MAX = 350
"""One image is decoded at a time, of 50 million pixels at the most, in 4 bytes each."""
DELAY_S_MAX = 1.0
SAFE_TYPES = {"image/jpeg", "image/png", "image/gif", "image/webp"}


class Bystander:
    """Asks for something else all the time."""

    def __init__(self, pid: int, address: tuple[str, int], access_token: str) -> None:
        self._pid = pid
        self._client = WireClient(address, access_token)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest_s = 0.0
        self.most_kib = 0

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            started = time.monotonic()
            self._client.get("account", "whoami")
            self.longest_s = max(self.longest_s, time.monotonic() - started)
            self.most_kib = max(self.most_kib, anonymous_kib(self._pid))


def ask(address: tuple[str, int], access_token: str, path: str) -> tuple[int, str]:
    """Status and type of what is answered."""
    connection = HTTPConnection(*address, timeout=ANSWER_S_MAX * 3)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {access_token}"})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers["Content-Type"]
    finally:
        connection.close()


def expected(name: str) -> int:
    return 413 if name in TOO_LARGE else 400 if name in BROKEN else 200


@pytest.mark.slow
def test_hostile_images_hurt_nobody(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, {"CONDUIT_MAX_REQUEST_SIZE": str(200 << 20)}) as server:
        server.start()
        access_token: str = register(server.address, "mallory")["access_token"]
        before_kib = anonymous_kib(server.pid)
        times: dict[str, float] = {}
        with Bystander(server.pid, server.address, access_token) as bystander:
            for name, make in CORPUS.items():
                content = make()
                uri = upload_chunks(server.address, access_token, [content], len(content)).removeprefix("mxc://")
                for query in QUERIES:
                    started = time.monotonic()
                    path = f"/_matrix/client/v1/media/thumbnail/{uri}?{query}"
                    status, content_type = ask(server.address, access_token, path)
                    times[f"{name}, {query}"] = time.monotonic() - started
                    assert status == expected(name), (name, query)
                    assert content_type in (SAFE_TYPES if status == 200 else {"application/json"}), (name, query)
        extra_mib = (bystander.most_kib - before_kib) / 1024
        slowest = max(times, key=times.__getitem__)
        sys.stdout.write(f"{extra_mib:.0f} MiB more, others waited {bystander.longest_s * 1000:.0f} ms at most; ")
        sys.stdout.write(f"slowest: {slowest} took {times[slowest]:.1f} s\n")
        assert times[slowest] <= ANSWER_S_MAX, slowest
        assert extra_mib <= EXTRA_MIB_MAX
        assert bystander.longest_s <= DELAY_S_MAX
        server.stop()
