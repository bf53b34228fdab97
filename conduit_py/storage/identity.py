"""Tells a database file from its copies.

A copy that is put back is a new file: it has another inode, or the same number in another generation, or lies on
another device. A copy that was written into the old file cannot be told from it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from conduit_py.storage.database import DATA_FILE, DIRECTORY

_GET_GENERATION = 0x80087601
"""``FS_IOC_GETVERSION`` of Linux: tells a file from an earlier one with the same inode number."""


def read_identity(path: Path) -> bytes:
    """Of the database below ``path``, ``database_path`` in the configuration."""
    descriptor = os.open(path / DIRECTORY / DATA_FILE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        return f"{status.st_dev}:{status.st_ino}:{_read_generation(descriptor)}".encode()
    finally:
        os.close(descriptor)


def _read_generation(descriptor: int) -> int:
    """0 where the file system has none."""
    buffer = bytearray(8)
    try:
        fcntl.ioctl(descriptor, _GET_GENERATION, buffer)
    except OSError:
        return 0
    generation: int = struct.unpack("=Ixxxx", buffer)[0]
    return generation
