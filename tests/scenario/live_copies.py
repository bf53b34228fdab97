"""Copies of the data directory of a server that is at work, and what they are worth.

Sixteen people send and two upload all the while. Some copies are made by ``cp -r``, the others by a slow program that
reads one file after the other from its beginning to its end. Every copy is looked at as soon as it is made, as the
server does it at start, and must hold whatever was acknowledged before it was begun. Then it is deleted: the disk holds
``COPIES_MAX`` of them at a time.

By hand, with more copies than a test has time for, or without the promise to copies::

    python -m tests.scenario.live_copies DIRECTORY --copies 100
    python -m tests.scenario.live_copies DIRECTORY --copies 10 --copy-seconds 0
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random

import click
import trio

from conduit_py.data.media import get_file
from conduit_py.service.backup.places import MEDIA
from conduit_py.service.backup.verify import verify
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import DATA_FILE, DIRECTORY, Snapshot
from kvschema.catalog import CATALOG, media, timeline
from kvschema.catalog.media import ByMxc
from kvschema.engine.lmdb_file import open_file
from kvschema.engine.pages import Damaged
from kvschema.engine.stamp import Torn, check_whole
from tests.crash.load import Acknowledgements, Load
from tests.crash.media_load import Uploader
from tests.rig.process import ServerProcess
from tests.rig.wire import WireClient, register

MIB = 1 << 20
UPLOADERS = 2
ROW_BYTES = 512_000
FILLERS = 4
CHUNK_BYTES = MIB
COPIES_MAX = 3
"""On the disk at a time, those that are being made or looked at included."""
GROWTH = 1.75
"""How much larger than what it is filled with a database is at the most, in the time that its copies take."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one copy."""

    number: int
    kind: str
    seconds: float
    """From its beginning until the database and everything else was copied."""
    database_seconds: float
    written_bytes: int
    """By the server meanwhile, media included."""
    file_bytes: int
    fault: str | None
    """Why it is refused; None: it is whole, and holds what it must."""

    def __str__(self) -> str:
        return (
            f"{self.number:3} {self.kind:9} {self.seconds:6.1f} s ({self.database_seconds:5.1f} s for the database)"
            f"  {self.written_bytes / MIB:6.0f} MiB written  {self.file_bytes / MIB:6.0f} MiB  {self.fault or 'whole'}"
        )


@dataclass(frozen=True, slots=True)
class Expected:
    """What was acknowledged before a copy was begun."""

    event_ids: tuple[str, ...]
    uris: tuple[str, ...]


class LiveServer:
    """A running server with much in it. Use it in a ``with`` block."""

    def __init__(self, directory: Path, *, database_mib: int, copy_seconds: int, copy_growth_mb: int) -> None:
        environment = {
            "CONDUIT_BACKUP__COPY_SECONDS": str(copy_seconds),
            "CONDUIT_BACKUP__COPY_GROWTH_MB": str(copy_growth_mb),
            "CONDUIT_BACKUP__SNAPSHOTS_KEPT": "0",
        }
        self.directory = directory
        self.process = ServerProcess(directory / "server", environment)
        self._database_mib = database_mib
        self._load = Load(seed=1)
        self._uploaders: list[Uploader] = []

    @property
    def data_file(self) -> Path:
        return self.process.data / DIRECTORY / DATA_FILE

    def fill(self) -> None:
        """Large rows that are cheap to look at, so that copying takes long and verifying does not."""
        users = [register(self.process.address, f"archive{number}")["access_token"] for number in range(FILLERS)]

        def write(number: int) -> None:
            with WireClient(self.process.address, users[number]) as client:
                user_id = client.get("account", "whoami")["user_id"]
                for row in range(number, self._database_mib * MIB // ROW_BYTES + 1, FILLERS):
                    content = {"number": row, "text": f"{row % 10}" * ROW_BYTES}
                    client.put("user", user_id, "account_data", f"test.row{row}", json=content)

        with ThreadPoolExecutor(FILLERS) as pool:
            list(pool.map(write, range(FILLERS)))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Everybody sends and uploads during the block; the server dies at its end."""
        self._load.begin(self.process)
        token = register(self.process.address, "uploader")["access_token"]
        self._uploaders = [Uploader(self.process, token, Random(number)) for number in range(UPLOADERS)]
        stop, acknowledgements = threading.Event(), Acknowledgements()
        workers = len(self._load.senders) + UPLOADERS
        with ThreadPoolExecutor(workers) as pool:
            tasks: list[Future[None]] = [
                pool.submit(sender.run, self.process.address, acknowledgements, stop) for sender in self._load.senders
            ]
            tasks += [pool.submit(uploader.run) for uploader in self._uploaders]
            try:
                assert acknowledgements.wait_for_more(20), self.process.read_log()
                yield
            finally:
                stop.set()
                self.process.kill()
            for task in tasks:
                task.result(timeout=60)

    def look_into(self, copy: ServerProcess) -> None:
        """Whoever sent something finds it in the running copy."""
        for sender in self._load.senders:
            with WireClient(copy.address, sender.access_token) as client:
                found = client.get("rooms", sender.room_id, "messages", dir="b", limit="1")
                assert found["chunk"], sender.room_id

    def get_acknowledged(self) -> Expected:
        event_ids = [event_id for sender in self._load.senders for event_id in list(sender.acknowledged.values())]
        return Expected(tuple(event_ids), tuple(uri for one in self._uploaders for uri in list(one.acknowledged)))

    def written_bytes(self) -> int:
        """So far, by the process."""
        lines = Path(f"/proc/{self.process.pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def copy_fast(source: Path, destination: Path) -> None:
    done = subprocess.run(["cp", "-r", str(source), str(destination)], stderr=subprocess.PIPE, text=True, check=False)
    # Uploads under way are there when the folder is listed and gone when their turn comes.
    complaints = [
        line for line in done.stderr.splitlines() if "No such file" not in line and "No such device" not in line
    ]
    assert not complaints, complaints


def copy_slowly(source: Path, destination: Path, bytes_per_s: float) -> float:
    """As ``cp -r``, with so many bytes in a second. Returns how long the data file took."""
    database_s = 0.0
    for folder in (source, *(path for path in source.rglob("*") if path.is_dir())):
        (destination / folder.relative_to(source)).mkdir(exist_ok=True)
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        begun_s = time.monotonic()
        try:
            _copy_file(path, destination / path.relative_to(source), bytes_per_s)
        except FileNotFoundError:
            continue
        if path.name == DATA_FILE:
            database_s = time.monotonic() - begun_s
    return database_s


def _copy_file(source: Path, destination: Path, bytes_per_s: float) -> None:
    begun_s, copied = time.monotonic(), 0
    pause = threading.Event()
    with source.open("rb", buffering=0) as reader, destination.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            writer.write(chunk)
            copied += len(chunk)
            pause.wait(max(0.0, begun_s + copied / bytes_per_s - time.monotonic()))


def find_fault(copy: Path, expected: Expected) -> str | None:
    """What the server says to the copy at its start, or what is missing in it."""
    data = copy / DIRECTORY / DATA_FILE
    try:
        check_whole(data)
    except (Torn, Damaged) as error:
        return f"refused: {error}"
    report = trio.run(lambda: verify(copy))
    if report.problems:
        return f"refused after a look at it: {report.problems[0]}"
    with open_file(data, trees_max=len(CATALOG) + 1, is_shared=False) as reader:
        reader.open_trees([tree.name for tree in CATALOG])
        with Snapshot(nullcontext(reader), ObjectCache(0)) as snapshot:
            for event_id in expected.event_ids:
                if timeline.EVENTID_SHORTEVENTID.get(snapshot, timeline.ByEventId(event_id)) is None:
                    return f"LOST: {event_id} was acknowledged before the copy was begun"
            for uri in expected.uris:
                medium = media.MXC_MEDIA.get(snapshot, ByMxc(*uri.removeprefix("mxc://").split("/")))
                digits = "" if medium is None else medium.file_hash.hex()
                if medium is None or get_file(snapshot, medium.file_hash) is None:
                    return f"LOST: {uri} was acknowledged before the copy was begun"
                if not (copy / MEDIA / digits[:2] / digits[2:4] / digits[4:]).is_file():
                    return f"LOST: the file of {uri} was acknowledged before the copy was begun"
    return None


@dataclass(frozen=True, slots=True)
class Copy:
    """One that was made."""

    number: int
    path: Path
    expected: Expected
    kind: str
    seconds: float
    database_seconds: float
    written_bytes: int
    file_bytes: int

    def look(self, *, keep: bool) -> Outcome:
        fault = find_fault(self.path, self.expected)
        if not keep:
            shutil.rmtree(self.path.parent)
        return Outcome(
            self.number,
            self.kind,
            self.seconds,
            self.database_seconds,
            self.written_bytes,
            self.file_bytes,
            fault,
        )


class Copying:
    """Makes copies of a server's directory: slow ones beside the others, which come one after the other."""

    def __init__(self, server: LiveServer, beside: ThreadPoolExecutor) -> None:
        self._server = server
        self._beside = beside
        self._outcomes: list[Future[Outcome]] = []
        self._room = threading.Semaphore(COPIES_MAX)

    def copy(self, *, mib_per_s: float | None = None, keep: bool = False) -> None:
        """Copy when there is room. A copy is deleted when it was looked at, unless it is to be kept."""
        number = len(self._outcomes) + 1
        self._room.acquire()
        if mib_per_s is not None:
            outcome = self._beside.submit(lambda: self._copy(number, mib_per_s).look(keep=keep))
        else:
            outcome = self._beside.submit(self._copy(number, None).look, keep=keep)
        if not keep:
            outcome.add_done_callback(lambda outcome: self._room.release())
        self._outcomes.append(outcome)

    def _copy(self, number: int, mib_per_s: float | None) -> Copy:
        server = self._server
        # Where a server process of its own would have it.
        path = server.directory / f"copy{number}" / "data"
        path.parent.mkdir()
        expected, written = server.get_acknowledged(), server.written_bytes()
        begun_s = time.monotonic()
        if mib_per_s is None:
            copy_fast(server.process.data, path)
            database_s = seconds = time.monotonic() - begun_s
        else:
            path.mkdir()
            database_s = copy_slowly(server.process.data, path, mib_per_s * MIB)
            seconds = time.monotonic() - begun_s
        written = server.written_bytes() - written
        kind = "cp -r" if mib_per_s is None else f"{mib_per_s:.0f} MiB/s"
        return Copy(number, path, expected, kind, seconds, database_s, written, server.data_file.stat().st_size)

    def wait(self) -> list[Outcome]:
        """What became of each, in order."""
        return [outcome.result() for outcome in self._outcomes]


def require_room(directory: Path, database_mib: int) -> None:
    """Raises ``AssertionError`` where the disk has no room for the server and its copies."""
    directory.mkdir(parents=True, exist_ok=True)
    free_mib, needed_mib = shutil.disk_usage(directory).free // MIB, int(database_mib * GROWTH * (COPIES_MAX + 1))
    assert free_mib >= needed_mib, f"{directory} has room for {free_mib} MiB, and {needed_mib} MiB are needed"


@contextmanager
def open_live_server(
    directory: Path, *, database_mib: int, copy_seconds: int, copy_growth_mb: int
) -> Iterator[tuple[LiveServer, Copying]]:
    """A server at work, and copying of it. At the end of the block it dies, when all copies were looked at."""
    require_room(directory, database_mib)
    server = LiveServer(directory, database_mib=database_mib, copy_seconds=copy_seconds, copy_growth_mb=copy_growth_mb)
    with ExitStack() as stack:
        stack.enter_context(server.process)
        server.process.start()
        server.fill()
        beside = stack.enter_context(ThreadPoolExecutor(COPIES_MAX))
        stack.enter_context(server.at_work())
        copying = Copying(server, beside)
        yield server, copying
        copying.wait()


@click.command
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--copies", default=100)
@click.option("--at-once", default=10, help="Copies of one server.")
@click.option("--slow-every", default=5, help="Each so many-th copy is throttled.")
@click.option("--mib-per-s", default=50.0)
@click.option("--database-mib", default=1024)
@click.option("--copy-seconds", default=120)
@click.option("--copy-growth-mb", default=4096)
def main(
    directory: Path,
    copies: int,
    at_once: int,
    slow_every: int,
    mib_per_s: float,
    database_mib: int,
    copy_seconds: int,
    copy_growth_mb: int,
) -> None:
    """Make copies in DIRECTORY, tell of each, and fail if one within the bounds was not whole."""
    outcomes: list[Outcome] = []
    while len(outcomes) < copies:
        folder = directory / f"server{len(outcomes) // at_once + 1}"
        with open_live_server(
            folder, database_mib=database_mib, copy_seconds=copy_seconds, copy_growth_mb=copy_growth_mb
        ) as (server, copying):
            # The slow ones first, so that the others are made beside them.
            for number in range(at_once):
                copying.copy(mib_per_s=mib_per_s if number < at_once // slow_every else None)
        acknowledged = server.get_acknowledged()
        click.echo(f"{folder.name}: {len(acknowledged.event_ids)} events, {len(acknowledged.uris)} uploads")
        for outcome in copying.wait():
            outcomes.append(outcome)
            click.echo(str(outcome))
        shutil.rmtree(folder)
    bad = [outcome for outcome in outcomes if outcome.fault is not None]
    click.echo(f"{len(outcomes)} copies, {len(bad)} not whole")
    growth_bytes = copy_growth_mb * MIB
    broken = [one for one in bad if one.database_seconds < copy_seconds and one.written_bytes < growth_bytes]
    raise SystemExit(1 if broken or (bad and not copy_seconds) else 0)


if __name__ == "__main__":
    main()
