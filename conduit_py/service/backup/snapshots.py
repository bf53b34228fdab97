"""Consistent snapshots of the database inside the data directory, made now and then while the server runs.

They are there for when a plain copy of the directory turns out to be torn: each is a compacted copy of one moment, made
by a process beside the server, and whole from the moment it has its name. Media files are not in them, for those never
change.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from conduit_py.log import get_logger
from conduit_py.service.backup.apart import run_apart
from conduit_py.service.backup.messages import Impossible, Tell, ignore
from conduit_py.storage.database import DIRECTORY
from kvschema.engine.file_space import make_directory, sync_directory
from kvschema.engine.lmdb import DATA_FILE
from kvschema.engine.lmdb_file import open_file
from kvschema.engine.pages import Damaged
from kvschema.engine.stamp import Stamp, append_stamp
from kvschema.errors import StorageError

_log = get_logger(__name__)

SNAPSHOTS = "snapshots"
"""Below ``database_path``: a directory for each, named by its time."""
_UNFINISHED = "unfinished"
_NAME = "%Y-%m-%dT%H-%M-%SZ"
FIRST_S = 3600
"""A server without any snapshot makes the first one so long after its start."""
PATIENCE_S = 600
"""After one that could not be made."""
SPARE_BYTES = 256 << 20
"""What a snapshot has to leave free on the disk."""


def find_snapshots(directory: Path) -> list[Path]:
    """The finished ones in a data directory, oldest first."""
    return sorted(path for path in (directory / SNAPSHOTS).glob("*Z") if (path / DATA_FILE).is_file())


class Snapshots:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self, directory: Path, *, interval_s: int, kept: int, now_s: Callable[[], float]) -> None:
        """``kept`` of them are kept; 0: none is made."""
        self._directory = directory
        self._interval_s = interval_s
        self._kept = kept
        self._now_s = now_s

    async def run(self) -> None:
        """Make one whenever it is time."""
        if not self._kept:
            return
        shutil.rmtree(self._directory / SNAPSHOTS / _UNFINISHED, ignore_errors=True)
        await trio.sleep(self._wait_s())
        while True:
            try:
                await self.make()
            except Impossible as error:
                _log.warning("no snapshot of the database was made", reason=str(error))
                await trio.sleep(min(PATIENCE_S, self._interval_s))
            else:
                await trio.sleep(self._interval_s)

    def _wait_s(self) -> float:
        snapshots = find_snapshots(self._directory)
        if not snapshots:
            return min(FIRST_S, self._interval_s)
        made_s = datetime.strptime(snapshots[-1].name, _NAME).replace(tzinfo=UTC).timestamp()
        # One from the future was made before the clock was set right.
        return min(max(0.0, made_s + self._interval_s - self._now_s()), self._interval_s)

    async def make(self) -> Path:
        """Make one now, and remove the oldest of those that are too many. Raises ``Impossible``."""
        name = datetime.fromtimestamp(self._now_s(), UTC).strftime(_NAME)
        begun_s = time.monotonic()
        arguments = {"directory": str(self._directory), "name": name, "kept": self._kept}
        answer = await run_apart(__name__, "write_snapshot", arguments, ignore)
        made = self._directory / SNAPSHOTS / name
        seconds = round(time.monotonic() - begun_s, 1)
        _log.info("made a snapshot of the database", path=str(made), bytes=answer["bytes"], seconds=seconds)
        return made


def write_snapshot(tell: Tell, *, directory: str, name: str, kept: int) -> Mapping[str, Any]:
    """In the process of its own. The name appears when everything is on disk."""
    data = Path(directory) / DIRECTORY / DATA_FILE
    folder = Path(directory) / SNAPSHOTS
    _require_room(data)
    unfinished = folder / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    make_directory(unfinished)
    copy = unfinished / DATA_FILE
    try:
        with open_file(data, trees_max=1, is_shared=True) as reader, copy.open("xb") as file:
            os.chmod(copy, 0o600)
            reader.copy_to(file.fileno())
        append_stamp(copy, Stamp(floor=0))
        _check_pages(copy)
    except (StorageError, Damaged, OSError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise Impossible(str(error)) from error
    size = copy.stat().st_size
    sync_directory(unfinished)
    unfinished.rename(folder / name)
    sync_directory(folder)
    others = [path for path in find_snapshots(Path(directory)) if path.name != name]
    for old in others[: max(0, len(others) - (kept - 1))]:
        shutil.rmtree(old)
    return {"bytes": size}


def _check_pages(copy: Path) -> None:
    """What a bad disk has done to the database must not take the place of a snapshot that is whole."""
    with open_file(copy, trees_max=1, is_shared=False) as reader:
        for problem in reader.check_pages(lambda done, total: None):
            raise Damaged(f"the database is damaged: {problem}; verify says more")


def _require_room(data: Path) -> None:
    disk, wanted = os.statvfs(data), data.stat().st_size + SPARE_BYTES
    if disk.f_bavail * disk.f_frsize < wanted:
        raise Impossible(f"the disk has less than {wanted >> 20} MiB left, as much as one might need")
