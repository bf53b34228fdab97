"""People who upload and look at files of a server that keeps dying, and what its disk must hold afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from random import Random

from conduit_py.data.consistency import check_consistency
from conduit_py.service.media.files import MARK
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import DIRECTORY, Database
from kvschema.catalog import CATALOG, media
from kvschema.catalog.media import ByFile, ByMxc
from kvschema.engine.lmdb import LmdbEngine
from tests.rig.media_wire import download_bytes, upload_chunks
from tests.rig.process import ServerProcess
from tests.rig.wire import Disconnected

BYTES_MAX = 1_500_000
PIECE_BYTES = 50_000
CLEAN_UP_S_MAX = 30
LONG_AGO_S = 3 * 24 * 3600


class Uploader:
    """Uploads one file after the other, each of its own content."""

    def __init__(self, process: ServerProcess, access_token: str, random: Random) -> None:
        self._process = process
        self._access_token = access_token
        self._random = random
        self.acknowledged: dict[str, bytes] = {}
        """URI to hash."""

    def run(self) -> None:
        """Until the server dies."""
        try:
            while True:
                content = self._random.randbytes(self._random.randrange(BYTES_MAX))
                # In pieces, so that the server may die in between.
                pieces = [content[start : start + PIECE_BYTES] for start in range(0, len(content), PIECE_BYTES)]
                uri = upload_chunks(self._process.address, self._access_token, pieces, len(content))
                self.acknowledged[uri] = sha256(content).digest()
        except Disconnected:
            return


class Fetcher:
    """Looks at files of another server, none twice while it has not seen all."""

    def __init__(self, process: ServerProcess, access_token: str, uris: list[str], random: Random) -> None:
        self._process = process
        self._access_token = access_token
        self._uris = random.sample(uris, len(uris))
        self.seen: set[str] = set()

    def run(self) -> None:
        """Until the server dies, or all was seen."""
        try:
            while self._uris:
                uri = self._uris[-1]
                status, _ = download_bytes(self._process.address, self._access_token, uri)
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

    def mark(self) -> None:
        """Say again that the directory is the server's: an empty file is in no image of a power cut."""
        self._root.mkdir(exist_ok=True)
        (self._root / MARK).touch()

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


def die_at_work(
    process: ServerProcess, workers: list[Callable[[], None]], seconds: float, die: Callable[[], None]
) -> None:
    """Let everybody work for so long."""
    with ThreadPoolExecutor(len(workers)) as pool:
        tasks = [pool.submit(worker) for worker in workers]
        process.let_run(seconds)
        die()
        for task in tasks:
            task.result(timeout=60)


def check_round(process: ServerProcess, acknowledged: dict[str, bytes], start: Callable[[], None]) -> int:
    """Check what is left, and that the next run tidies it up. How many files had no row."""
    disk = Disk(process)
    found = disk.check(acknowledged)
    orphans = disk.files() - found
    disk.age()
    start()
    wait_until(lambda: disk.files() == found, process)
    return len(orphans)
