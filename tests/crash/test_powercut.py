"""A power cut takes nothing that was acknowledged, and leaves every batch whole or absent, in order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from kvschema.errors import StorageError
from tests.crash.powercut import (
    BASE,
    Disk,
    build_library,
    cut,
    environment,
    keep_owned,
    records,
    workload,
    write_image,
)

ROOT = Path(__file__).parents[2]
SYNC_US = 300


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("powercut"))


class Server:
    """The workload as a process, and the folders it lives in."""

    def __init__(self, library: Path, directory: Path) -> None:
        self.live, self.durable, self.image = directory / "live", directory / "durable", directory / "image"
        self._library = library

    def start(self, tasks: int, commits: int, *unsafe: str) -> subprocess.Popen[bytes]:
        watched = environment(self._library, self.live, self.durable, sync_us=SYNC_US)
        return subprocess.Popen(
            [sys.executable, "-m", workload.__name__, str(self.live), str(tasks), str(commits), *unsafe],
            cwd=ROOT,
            env={**os.environ, **watched},
            stdout=subprocess.PIPE,
        )

    def kill_after(self, acks: int, *unsafe: str) -> int:
        """Run until so many acknowledgements arrived and cut it off. Returns the last position acknowledged."""
        with self.start(16, 100_000, *unsafe) as process:
            assert process.stdout is not None
            told = [int(process.stdout.readline()) for _ in range(acks)]
            process.kill()
            told += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        return max(told)

    def keep_owned(self) -> None:
        """The image is of the server's own file, and no copy."""
        keep_owned(self.image / "db", [path.name for path in (self.live / "db").glob("own-*")])

    def run(self, tasks: int, commits: int, *unsafe: str) -> None:
        with self.start(tasks, commits, *unsafe) as process:
            process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.fixture
def server(library: Path, tmp_path: Path) -> Server:
    return Server(library, tmp_path)


def check_kill(server: Server, seed: int) -> None:
    random = Random(seed)
    acknowledged = server.kill_after(random.randrange(1, 300))
    for chance in (None, *(Random(f"{seed} {n}") for n in range(5))):
        cut(server.durable, server.image, chance)
        server.keep_owned()
        assert workload.complaints(server.image, acknowledged) == []


def check_cuts(server: Server, cuts: int, seed: int, *, is_tidy: bool = False) -> tuple[int, list[str]]:
    """Cut at many places of one run. Returns how many, and what was found to be wrong.

    A tidy disk loses all that was not synced; others keep any part of it.
    """
    log = list(records(server.durable))
    random = Random(seed)
    places = set(random.sample(range(len(log)), min(cuts, len(log))))
    disk = Disk(server.durable / BASE)
    acknowledged = 0
    found: list[str] = []
    for place, record in enumerate(log):
        disk.feed(record)
        if record.path == workload.ACKS and record.data:
            acknowledged = max(acknowledged, int(record.data))
        if place in places:
            write_image(disk.image(None if is_tidy else random.choice((None, random))), server.image)
            server.keep_owned()
            try:
                found += workload.complaints(server.image, acknowledged)
            except StorageError as error:
                found.append(f"it does not open: {error}")
    return len(places), found


@pytest.mark.parametrize("seed", range(2))
def test_killed_server_kept_what_it_acknowledged(server: Server, seed: int) -> None:
    check_kill(server, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_killed_server_kept_what_it_acknowledged_many_times(server: Server, seed: int) -> None:
    check_kill(server, seed)


def test_cut_anywhere_keeps_what_was_acknowledged(server: Server) -> None:
    server.run(8, 25)
    assert check_cuts(server, 120, seed=1) == (120, [])


def test_cut_during_the_first_start_leaves_a_store_that_starts(server: Server) -> None:
    server.run(1, 1)
    for seed in range(5):
        cuts, found = check_cuts(server, 1000, seed)
        assert (cuts > 20, found) == (True, [])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_cut_anywhere_keeps_what_was_acknowledged_many_times(server: Server, seed: int) -> None:
    server.run(4 << seed, 100)
    assert check_cuts(server, 1500, seed)[1] == []


def test_server_goes_on_after_a_cut_and_may_be_cut_again(server: Server) -> None:
    last = 0
    for round_ in range(2):
        acknowledged = server.kill_after(40)
        assert acknowledged > last
        last = acknowledged
        cut(server.durable, server.image, Random(round_))
        assert workload.complaints(server.image, acknowledged) == []
        cut(server.durable, server.live, Random(round_))
        (server.live / workload.ACKS).unlink(missing_ok=True)


@pytest.mark.parametrize("unsafe", sorted(workload.UNSAFE))
def test_commit_without_sync_is_found_out(server: Server, unsafe: str) -> None:
    """The test can fail: a store that leaves out a sync loses what it acknowledged.

    On a disk that is not tidy such a store is corrupt, and LMDB aborts the process that reads it.
    """
    server.run(4, 25, unsafe)
    _, found = check_cuts(server, 60, seed=1, is_tidy=True)
    assert any("was acknowledged and is not there" in complaint for complaint in found)
