"""Room on the disk, asked for before it is needed, and the stamp behind it."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

from kvschema.engine.stamp import STAMP_BYTES, Stamp, read_stamp
from kvschema.errors import StorageFailed

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Disk full, quota reached, file size limit reached."""
_GET_GENERATION = 0x80087601
"""``FS_IOC_GETVERSION`` of Linux: tells a file from an earlier one with the same inode number."""
_CANNOT_PROMISE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""The file system knows no allocation beforehand, and the C library does not write the blocks in its stead."""


class FileSpace:
    """The blocks of one data file, and the stamp at its end.

    On file systems that copy on write (btrfs, ZFS) or cannot allocate, a promise is worth little: there a full disk
    shows up in the middle of a commit, as an error that leaves the store as it was.
    """

    def __init__(self, path: Path, map_bytes: int) -> None:
        """``map_bytes`` from the beginning of the file belong to LMDB, and nothing there is written here."""
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.identity = identify(self._file)
        self.promised = 0
        """So many bytes from the start of the file can be written without the disk being able to refuse."""
        self._stamped_at: int | None = None
        # Invariant: a stamp lies behind what was promised, and the map within it.
        found = read_stamp(self._file)
        self.stamp = found or Stamp()
        """What the end says, or will say once there is room for it."""
        if found is not None:
            at = os.fstat(self._file).st_size - STAMP_BYTES
            if at >= map_bytes:
                self._stamped_at = at
            else:
                self._cut(at)

    def promise(self, size: int) -> bool:
        """Have the disk promise the first ``size`` bytes. False, and nothing taken, where disk or quota refuses.

        The stamp is written at the new end before the file becomes longer otherwise, and the old one is gone after.
        """
        if size <= self.promised:
            return True
        before = os.fstat(self._file).st_size
        end = max(size + STAMP_BYTES, before + -before % STAMP_BYTES)
        try:
            os.pwrite(self._file, self.stamp.encode(), end - STAMP_BYTES)
            self._allocate(self.promised, end - self.promised)
            if self._stamped_at not in (None, end - STAMP_BYTES):
                os.pwrite(self._file, bytes(STAMP_BYTES), self._stamped_at)
        except OSError as error:
            if error.errno not in FULL:
                raise StorageFailed(f"the database file could not be extended: {error}") from error
            self._cut(before)
            return False
        self._stamped_at = end - STAMP_BYTES
        self.promised = size
        if end > before:
            # A power cut must not leave a long file without a stamp, which would be taken for a copy without its end.
            os.fdatasync(self._file)
        return True

    def _allocate(self, start: int, length: int) -> None:
        try:
            os.posix_fallocate(self._file, start, length)
        except OSError as error:
            if error.errno not in _CANNOT_PROMISE:
                raise

    def give_back(self, size: int) -> None:
        """Let go of everything behind the first ``size`` bytes, except for the stamp."""
        if os.fstat(self._file).st_size <= size + STAMP_BYTES:
            return
        self._cut(size)
        self.promised = min(self.promised, size)
        self._stamped_at = size
        self.write_stamp(self.stamp)

    def write_stamp(self, stamp: Stamp) -> None:
        """Have the end of the file say this, for everybody who reads it from now on."""
        self.stamp = stamp
        if self._stamped_at is None:
            return
        try:
            os.pwrite(self._file, stamp.encode(), self._stamped_at)
        except OSError as error:
            if error.errno not in FULL:
                raise StorageFailed(f"the database file could not be stamped: {error}") from error
            # Where every write takes new blocks and the disk has none. What the old stamp says is no longer so.
            self._cut(self._stamped_at)

    def free_bytes(self) -> int:
        """What the disk has left for everybody, as far as it tells: a quota may be narrower."""
        disk = os.fstatvfs(self._file)
        return disk.f_bavail * disk.f_frsize

    def sync(self) -> None:
        """Have the stamp on disk."""
        os.fdatasync(self._file)

    def _cut(self, size: int) -> None:
        if os.fstat(self._file).st_size > size:
            os.ftruncate(self._file, size)

    def close(self) -> None:
        """Close the file; what was promised stays so."""
        os.close(self._file)


def identify(descriptor: int) -> str:
    """Which file it is: no other on this machine is called so at the same time, nor, mostly, at another."""
    status = os.fstat(descriptor)
    # Numbers of devices can be others after a reboot; most file systems have a number of their own that stays.
    device = os.fstatvfs(descriptor).f_fsid or status.st_dev
    return f"{device}-{status.st_ino}-{_read_generation(descriptor)}"


def _read_generation(descriptor: int) -> int:
    """0 where the file system has none."""
    buffer = bytearray(8)
    try:
        fcntl.ioctl(descriptor, _GET_GENERATION, buffer)
    except OSError:
        return 0
    generation: int = struct.unpack("=Ixxxx", buffer)[0]
    return generation


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
