"""A server that is killed while files come has no row without its file, and loses the files without a row."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from conduit_py.data.consistency import check_consistency
from conduit_py.service.media.files import MARK
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import DIRECTORY, Database
from kvschema.catalog import CATALOG, media
from kvschema.catalog.media import ByFile, ByMxc
from kvschema.engine.lmdb import LmdbEngine
from tests.rig.federation import FederatedServer, User, open_federation
from tests.rig.media_wire import download_bytes, upload_chunks
from tests.rig.process import ServerProcess
from tests.rig.wire import Disconnected

UPLOADERS = 4
BYTES_MAX = 1_500_000
ROUNDS = 8
CLEAN_UP_S_MAX = 30
LONG_AGO_S = 3 * 24 * 3600


class Uploader:
    """Uploads one file after the other, each of its own content."""

    def __init__(self, user: User, random: Random) -> None:
        self._user = user
        self._random = random
        self.acknowledged: dict[str, bytes] = {}
        """URI to hash."""

    def run(self) -> None:
        """Until the server dies."""
        assert self._user.access_token is not None
        try:
            while True:
                content = self._random.randbytes(self._random.randrange(BYTES_MAX))
                # In pieces, so that the server may die in between.
                pieces = [content[start : start + 50_000] for start in range(0, len(content), 50_000)]
                uri = upload_chunks(self._user.server.process.address, self._user.access_token, pieces, len(content))
                self.acknowledged[uri] = sha256(content).digest()
        except Disconnected:
            return


class Fetcher:
    """Looks at files of another server, none twice while it has not seen all."""

    def __init__(self, user: User, uris: list[str], random: Random) -> None:
        self._user = user
        self._uris = random.sample(uris, len(uris))
        self.seen: set[str] = set()

    def run(self) -> None:
        """Until the server dies, or all was seen."""
        assert self._user.access_token is not None
        try:
            while self._uris:
                uri = self._uris[-1]
                status, _ = download_bytes(self._user.server.process.address, self._user.access_token, uri)
                assert status == 200, uri
                self._uris.pop()
                self.seen.add(uri)
        except Disconnected:
            return


class Disk:
    """The media of a server that does not run."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process
        self._root = process.data / "media"

    def files(self) -> set[Path]:
        return {path for path in self._root.rglob("*") if path.is_file() and path.name != MARK}

    def check(self, acknowledged: dict[str, bytes]) -> set[Path]:
        """Every row has its file, and what was acknowledged a row. Returns the files that have a row."""
        engine = LmdbEngine(self._process.data / DIRECTORY, [tree.name for tree in CATALOG], reserve_bytes=0)
        with closing(engine), Database(engine, ObjectCache(0)).snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []
            found = set()
            for key, row in media.FILE_METADATA.scan(snapshot):
                digits = key.file_hash.hex()
                path = self._root / digits[:2] / digits[2:4] / digits[4:]
                content = path.read_bytes()
                assert (len(content), sha256(content).digest()) == (row.size, key.file_hash), path
                found.add(path)
            for uri, file_hash in acknowledged.items():
                medium = media.MXC_MEDIA.get(snapshot, ByMxc(*uri.removeprefix("mxc://").split("/")))
                assert medium is not None, f"{uri} was acknowledged and is gone"
                assert medium.file_hash == file_hash
                assert media.FILE_METADATA.has(snapshot, ByFile(file_hash))
        return found

    def age(self) -> None:
        """Let everything have been written long ago, as far as the next clean-up can see."""
        then = time.time() - LONG_AGO_S
        for path in self.files():
            os.utime(path, (then, then))


def wait_until(holds: Callable[[], bool], process: ServerProcess) -> None:
    deadline = time.monotonic() + CLEAN_UP_S_MAX
    while not holds():
        assert time.monotonic() < deadline, process.read_log()[-2000:]
        process.let_run(0.05)


def kill_at_work(server: FederatedServer, workers: list[Callable[[], None]], seconds: float) -> None:
    with ThreadPoolExecutor(len(workers)) as pool:
        tasks = [pool.submit(worker) for worker in workers]
        server.process.let_run(seconds)
        server.process.kill()
        for task in tasks:
            task.result(timeout=60)


def check_round(server: FederatedServer, acknowledged: dict[str, bytes]) -> int:
    """Check what is left, and that the next run tidies it up. How many files had no row."""
    disk = Disk(server.process)
    found = disk.check(acknowledged)
    orphans = disk.files() - found
    disk.age()
    server.start()
    wait_until(lambda: disk.files() == found, server.process)
    return len(orphans)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_while_files_are_uploaded(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    with open_federation(tmp_path, 1) as (server,):
        uploaders = [Uploader(server.register(f"user{n}"), Random(random.random())) for n in range(UPLOADERS)]
        acknowledged: dict[str, bytes] = {}
        orphans = 0
        for _ in range(ROUNDS):
            kill_at_work(server, [uploader.run for uploader in uploaders], random.uniform(0.02, 0.5))
            acknowledged = {uri: it for uploader in uploaders for uri, it in uploader.acknowledged.items()}
            orphans += check_round(server, acknowledged)
        assert acknowledged
        assert orphans, "the server was never killed at the right moment"


@pytest.mark.slow
def test_killed_while_files_are_fetched(tmp_path: Path) -> None:
    random = Random(3)
    with open_federation(tmp_path, 2) as (one, two):
        alice, bob = one.register("alice"), two.register("bob")
        assert alice.access_token is not None
        uploaded = {}
        for _ in range(120):
            content = random.randbytes(random.randrange(BYTES_MAX))
            uri = upload_chunks(one.process.address, alice.access_token, [content], len(content))
            uploaded[uri] = sha256(content).digest()
        fetchers = [Fetcher(bob, list(uploaded), Random(random.random())) for _ in range(4)]
        orphans = 0
        for _ in range(ROUNDS):
            kill_at_work(two, [fetcher.run for fetcher in fetchers], random.uniform(0.02, 0.4))
            seen = set().union(*(fetcher.seen for fetcher in fetchers))
            orphans += check_round(two, {uri: it for uri, it in uploaded.items() if uri in seen})
        assert orphans, "the server was never killed at the right moment"
        for fetcher in fetchers:
            fetcher.run()
            assert fetcher.seen == set(uploaded)
