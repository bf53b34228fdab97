"""Mixed load at a steady pace, and what the server holds meanwhile: does anything grow with the time that it runs?

    python -m bench.soak --minutes 30 [--rate 20] [--server ours@REF]

Every step is one of a round of operations: messages, syncs from where the last one led, initial syncs, receipts,
typing, uploads, profile changes, and somebody who comes and goes. What is stored grows with the messages, as
it must; memory must not, once caches are full. Each line is one minute: RssAnon, open files and threads of the server,
and the size of its data; ``--samples`` names the file that gets the same lines. At the end the rows of each tree are
counted, with the server stopped.

The server runs with a small object cache (``--cache-mb``, 8), so that a cache that fills is not mistaken for a leak.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from bench.driver.process import process_tree, read_memory
from bench.driver.scene import CLIENT, Account, Scene, build_scene, message, send_target
from bench.driver.wire import Connection, DriverError, encode_request, path_part
from bench.servers import Running, default_cache, prepare_server
from bench.trees import count_rows

WARM_UP_MINUTES: Final = 10
"""The cache is full after three. What Python and the C library keep of memory that was freed takes longer."""
UPLOAD_BYTES: Final = 32 * 1024


class Load:
    """One client after the other, over one connection."""

    def __init__(self, scene: Scene, connection: Connection) -> None:
        self._scene, self._connection = scene, connection
        self._numbers = itertools.count()
        self._random = random.Random(1)
        self._since: dict[str, str] = {}
        self._last_event: dict[str, str] = {}
        round_of = (
            *(self._send,) * 8,
            *(self._sync,) * 8,
            self._receipt,
            self._receipt,
            self._typing,
            self._initial_sync,
            self._upload,
            self._rename,
            self._come_and_go,
        )
        self._steps: Iterator[Callable[[], None]] = itertools.cycle(round_of)

    def step(self) -> None:
        next(self._steps)()

    def _ask(self, account: Account, method: str, target: str, body: Any = None) -> dict[str, Any]:
        request = encode_request(method, target, token=account.token, body=body)
        return self._connection.exchange(request).object()

    def _any_guest(self) -> tuple[Account, str]:
        guest = self._random.randrange(len(self._scene.guests))
        return self._scene.guests[guest], self._scene.room_of(guest)

    def _send(self) -> None:
        account, room_id = self._any_guest()
        number = next(self._numbers)
        text = f"message {number} " + "lorem ipsum " * self._random.randrange(12)
        answer = self._ask(account, "PUT", send_target(room_id, f"soak{number}"), message(text))
        self._last_event[room_id] = answer["event_id"]

    def _sync(self) -> None:
        account = self._random.choice([*self._scene.residents, *self._scene.guests[:8]])
        since = self._since.get(account.user_id)
        place = "" if since is None else f"&since={path_part(since)}"
        self._since[account.user_id] = self._ask(account, "GET", f"{CLIENT}/sync?timeout=0{place}")["next_batch"]

    def _initial_sync(self) -> None:
        account = self._random.choice(self._scene.residents)
        self._ask(account, "GET", f"{CLIENT}/sync?timeout=0")

    def _receipt(self) -> None:
        account, room_id = self._any_guest()
        event_id = self._last_event.get(room_id)
        if event_id is not None:
            self._ask(account, "POST", f"{_room(room_id)}/receipt/m.read/{path_part(event_id)}", {})

    def _typing(self) -> None:
        account, room_id = self._any_guest()
        target = f"{_room(room_id)}/typing/{path_part(account.user_id)}"
        self._ask(account, "PUT", target, {"typing": True, "timeout": 5000})

    def _upload(self) -> None:
        account, _ = self._any_guest()
        request = encode_request(
            "POST",
            "/_matrix/media/v3/upload",
            token=account.token,
            body=self._random.randbytes(UPLOAD_BYTES),
            content_type="application/octet-stream",
        )
        self._connection.exchange(request).object()

    def _rename(self) -> None:
        account, _ = self._any_guest()
        target = f"{CLIENT}/profile/{path_part(account.user_id)}/displayname"
        self._ask(account, "PUT", target, {"displayname": f"Name {next(self._numbers)}"})

    def _come_and_go(self) -> None:
        builder, room_id = self._scene.builder, self._random.choice(self._scene.room_ids)
        self._ask(builder, "POST", f"{CLIENT}/join/{path_part(room_id)}", {})
        self._ask(builder, "POST", f"{_room(room_id)}/leave", {})


def _room(room_id: str) -> str:
    return f"{CLIENT}/rooms/{path_part(room_id)}"


def soak(running: Running, *, minutes: float, rate: float, directory: Path, samples: TextIO) -> tuple[float, float]:
    """RssAnon in MiB after the warm-up and at the end."""
    scene = build_scene(running.address, running.take_accounts(), room_version="12")
    after_warm_up = 0.0
    with Connection(running.address) as connection:
        load, started, steps = Load(scene, connection), time.monotonic(), 0
        for minute in itertools.count(1):
            while time.monotonic() < started + minute * 60:
                load.step()
                steps += 1
                time.sleep(max(0.0, started + steps / rate - time.monotonic()))
            last = _tell(running, minute, steps, directory, samples)
            if minute <= WARM_UP_MINUTES:
                after_warm_up = last
            if minute >= minutes:
                return after_warm_up, last
    raise AssertionError("itertools.count ends")


def _tell(running: Running, minute: int, steps: int, directory: Path, samples: TextIO) -> float:
    pid = running.gauges.pid
    assert pid is not None, "only a server that was started here can be watched"
    memory = read_memory(pid).rss_anon
    processes = process_tree(pid)
    files = sum(len(os.listdir(f"/proc/{each}/fd")) for each in processes)
    threads = sum(len(os.listdir(f"/proc/{each}/task")) for each in processes)
    size = sum(path.stat().st_blocks * 512 for path in directory.rglob("*.mdb"))
    line = f"{minute:6d} {steps:8d} {memory:12.1f} {files:6d} {threads:8d} {size / 1024**2:10.1f}"
    _say(line, samples)
    return memory


def _say(line: str, samples: TextIO) -> None:
    for file in (sys.stdout, samples):
        print(line, file=file, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Mixed load at a steady pace.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=20, help="operations each second (default: 20)")
    parser.add_argument("--server", default="ours", help="as for bench.compare (default: ours)")
    parser.add_argument("--cache-mb", type=float, default=8, help="db_cache_capacity_mb of the server (default: 8)")
    parser.add_argument("--directory", type=Path, help="where it keeps its data while it runs: on a real disk")
    samples = Path(tempfile.gettempdir()) / "conduit_py-soak.txt"
    parser.add_argument("--samples", type=Path, default=samples, help=f"file for the lines (default: {samples})")
    options = parser.parse_args()
    try:
        server = prepare_server(options.server, default_cache())
        with (
            tempfile.TemporaryDirectory(prefix="conduit_py-soak-", dir=options.directory) as name,
            options.samples.open("w") as samples,
        ):
            directory = Path(name)
            with server.start(directory, {"db_cache_capacity_mb": options.cache_mb}) as running:
                _say("minute    steps  RssAnon/MiB  files  threads   data/MiB", samples)
                before, after = soak(
                    running, minutes=options.minutes, rate=options.rate, directory=directory, samples=samples
                )
            _say(f"\nRssAnon: {before:.1f} MiB after the warm-up, {after:.1f} MiB at the end\n", samples)
            for tree, rows in sorted(count_rows(directory / "data").items(), key=lambda item: -item[1]):
                print(f"{rows:10d} {tree}")
    except (DriverError, OSError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
