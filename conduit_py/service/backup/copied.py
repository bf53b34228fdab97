"""A data directory that is a copy: known at start, verified, and refused with a sentence where it is not whole.

What a copy has missed since it was made is set right later, when the services run: see ``service.restored``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import trio

from conduit_py.config import Config
from conduit_py.log import get_logger
from conduit_py.service.backup.messages import Finding, Impossible, Kind, Message, Progress
from conduit_py.service.backup.snapshots import find_snapshots
from conduit_py.service.backup.verify import verify
from conduit_py.storage.database import DIRECTORY
from kvschema.engine.lmdb import DATA_FILE
from kvschema.engine.ownership import is_copy
from kvschema.engine.pages import Damaged
from kvschema.engine.stamp import Torn, check_whole
from kvschema.errors import SchemaMismatch

_log = get_logger(__name__)

TELL_S = 5
"""Between two lines of the log about how far the check is."""
FINDINGS_SHOWN = 10


async def check_copied(config: Config) -> None:
    """Verify the directory if it is a copy. Raises ``SchemaMismatch`` where no server should run on it."""
    directory = config.database_path
    data = directory / DIRECTORY / DATA_FILE
    try:
        if not is_copy(data):
            return
        check_whole(data)
    except Damaged as damage:
        raise _refusal(directory, f"is no database that this program can read: {damage}") from damage
    except Torn as torn:
        raise _refusal(directory, f"is a copy that is not whole: {torn}") from torn
    _log.warning("the database is a copy, or was put back: verifying it before anything is served", path=str(data))
    listener = _Listener(trio.current_time)
    try:
        report = await verify(
            directory,
            media_path=config.media.path,
            structure=config.media.directory_structure,
            tell=listener.hear,
        )
    except Impossible as error:
        raise SchemaMismatch(f"{data} is a copy, and could not be verified: {error}") from error
    if report.problems:
        raise _refusal(directory, f"is a copy that is not whole: {report.problems[0]}")
    if report.media:
        _log.warning(
            "media files are missing or of another length, because the copy of the media folder is not of the same "
            "time as that of the database: whoever asks for them is told that they are not there",
            files=len(report.media),
        )
    _log.warning("the copy is whole", seconds=round(time.monotonic() - listener.begun_s, 1))


class _Listener:
    """Logs how far a check is, now and then, and what it finds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.begun_s = time.monotonic()
        self._clock = clock
        self._told_s = clock()
        self._findings = 0

    def hear(self, message: Message) -> None:
        match message:
            case Progress(step, done, total):
                now_s = self._clock()
                if now_s >= self._told_s + TELL_S:
                    self._told_s = now_s
                    _log.warning("verifying the copy", step=step, percent=100 * done // max(total, 1))
            case Finding(kind, text) if kind is not Kind.NOTE:
                self._findings += 1
                if self._findings <= FINDINGS_SHOWN:
                    _log.warning("the copy has a fault", what=text)


def _refusal(directory: Path, what: str) -> SchemaMismatch:
    snapshots = find_snapshots(directory)
    data = directory / DIRECTORY / DATA_FILE
    if snapshots:
        instead = (
            f"The newest consistent snapshot in this directory is {snapshots[-1]}. To go on from it: "
            f"conduit_py restore --replace {snapshots[-1]}"
        )
    else:
        instead = "Put back another copy; there is no consistent snapshot in this directory"
    return SchemaMismatch(f"{data} {what}. {instead}")
