"""Files that come into being beside their place, and are there when they are whole."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from conduit_py.service.backup.messages import Impossible, Progress, Tell
from kvschema.engine.file_space import sync_directory
from kvschema.engine.lmdb_file import FileReader

COPY_BYTES: Final = 1 << 20
"""Copied at a time."""
TELL_S: Final = 0.1
_CANNOT_LINK: Final = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)
"""Another disk, a file system or kernel that does not like it, too many names already."""


@contextmanager
def staging(parent: Path, name: str, suffix: str, *, is_alone: bool = False) -> Iterator[Path]:
    """A private directory to put things together in. What is left in it at the end is removed.

    :param is_alone: nobody else makes one of the name, so those that are there are left of work that was killed.
    """
    if is_alone:
        for left in parent.glob(f".{name}.*{suffix}"):
            shutil.rmtree(left)
    directory = Path(mkdtemp(dir=parent, prefix=f".{name}.", suffix=suffix))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def require_room(directory: Path, wanted: int) -> None:
    """Raises ``Impossible`` where the disk has less. A quota says so only when it is met."""
    free = shutil.disk_usage(directory).free
    if free < wanted:
        raise Impossible(
            f"{wanted / 2**20:,.0f} MiB are needed at {directory}, and {free / 2**20:,.0f} MiB are free there"
        )


def copy_database(reader: FileReader, target: Path, tell: Tell) -> None:
    """A compacted copy of the reader's transaction, on disk on return."""
    total = reader.used_bytes
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    is_done = threading.Event()

    def watch() -> None:
        while not is_done.wait(TELL_S):
            tell(Progress("database", min(os.fstat(descriptor).st_size, total), total))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        reader.copy_to(descriptor)
        os.fsync(descriptor)
    finally:
        is_done.set()
        watcher.join()
        os.close(descriptor)
    tell(Progress("database", total, total))


def place_file(source: Path, target: Path, *, may_link: bool) -> bool:
    """Have the content of a file that never changes under another name. Was it linked? Otherwise it was copied.

    A copy is on disk on return, its name is not: see ``sync_tree``.
    """
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if may_link:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
        else:
            return True
    copy_file(source, target)
    return False


def copy_file(source: Path, target: Path, tell: Tell | None = None) -> None:
    """Raises ``FileExistsError``. A copy that is cut short is removed."""
    total, done = source.stat().st_size, 0
    with (
        source.open("rb") as reading,
        open(target, "xb", opener=_open_private) as writing,
        remove_if_failed(target),
    ):
        while chunk := reading.read(COPY_BYTES):
            writing.write(chunk)
            done += len(chunk)
            if tell is not None:
                tell(Progress("database", min(done, total), total))
        writing.flush()
        os.fsync(writing.fileno())


@contextmanager
def remove_afterwards(path: Path) -> Iterator[Path]:
    """The name of a file on its way to another name."""
    path.unlink(missing_ok=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def remove_if_failed(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def sync_tree(directory: Path) -> None:
    """Have every name below a directory on disk, and its own content."""
    for folder, _, _ in os.walk(directory):
        sync_directory(Path(folder))


def write_durably(path: Path, content: bytes) -> None:
    with open(path, "xb", opener=_open_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
