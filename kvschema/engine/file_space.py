"""Room on the disk, asked for before it is needed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from kvschema.errors import StorageFailed

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Disk full, quota reached, file size limit reached."""
_CANNOT_PROMISE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""The file system knows no allocation beforehand, and the C library does not write the blocks in its stead."""


class FileSpace:
    """The blocks of one file.

    On file systems that copy on write (btrfs, ZFS) or cannot allocate, a promise is worth little: there a full disk
    shows up in the middle of a commit, as an error that leaves the store as it was.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.promised = 0
        """So many bytes from the start of the file can be written without the disk being able to refuse."""

    def promise(self, size: int) -> bool:
        """Have the disk promise the first ``size`` bytes. False, and nothing taken, where disk or quota refuses."""
        if size <= self.promised:
            return True
        before = os.fstat(self._file).st_size
        try:
            os.posix_fallocate(self._file, self.promised, size - self.promised)
        except OSError as error:
            if error.errno in FULL:
                self._cut(before)
                return False
            if error.errno not in _CANNOT_PROMISE:
                raise StorageFailed(f"the database file could not be extended: {error}") from error
        self.promised = size
        return True

    def give_back(self, size: int) -> None:
        """Let go of everything behind the first ``size`` bytes."""
        self._cut(size)
        self.promised = min(self.promised, size)

    def _cut(self, size: int) -> None:
        if os.fstat(self._file).st_size > size:
            os.ftruncate(self._file, size)

    def close(self) -> None:
        """Close the file; what was promised stays so."""
        os.close(self._file)


def make_directory(path: Path) -> None:
    """Make a private directory and those above it that are missing, so that a power cut does not lose them again."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in missing:
        sync_directory(folder.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
