"""The stamp: the last page of the data file, which tells a copy that is whole from a torn one.

A copier reads a file from its beginning to its end, and the server writes meanwhile. The copy shows the transaction N
that its meta pages name; its other pages are read later, and are those of N unless they were freed, used again and
written over before the copier came by. LMDB uses no page again that belongs to the oldest transaction it knows a reader
of, or to a later one. So the server holds such readers, *pins* (``kvschema.engine.pins``), and the stamp names the
oldest of them, the *floor*. Whoever raises the floor does so before the older pin is let go. Hence, at any time, a pin
is held at the floor that the stamp names, and the floor that a copier finds, at the very end, has the pages of every
transaction since held during all of its way: *the copy is whole if and only if N is not below the floor*. Where there
is no stamp at the end, the end is missing.

The stamp lies behind the memory map, in space that LMDB never touches. It also carries what tells a file from its
copies (``kvschema.engine.ownership``), so that a copy is known before LMDB looks at it.

Decisions:

- A page of the file itself, because it travels with every way to copy a file, and is read last by all that read in
  order: cp, tar, rsync, scp, and backup programs. Programs that read one file in several places at once are not served
  by it; of them, a full verify has to find what it can.
- What is whole is decided without LMDB, which can end the process on a torn file.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from kvschema.engine.pages import read_metas

STAMP_BYTES = 4096
"""Its place in the file: a page of the smallest kind, so that it never lies across two of the disk's."""
UNPINNED = (1 << 64) - 1
"""The floor where nothing is pinned: nothing is known of copies made meanwhile, whole or torn."""
MARK_CHARS = 16
"""Digits of a mark."""
_MAGIC = b"conduit_py stamp"
_FORMAT = struct.Struct(f"<16sQ{MARK_CHARS}s{MARK_CHARS}s")
_CHECKSUM = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the last page says."""

    floor: int = UNPINNED
    """The oldest transaction that is pinned."""
    mark: str = ""
    """See ``kvschema.engine.ownership``. Empty: of a file that has never been anybody's own."""
    mark_before: str = ""

    def encode(self) -> bytes:
        """The whole page."""
        body = _FORMAT.pack(_MAGIC, self.floor, self.mark.encode(), self.mark_before.encode())
        return (body + _CHECKSUM.pack(zlib.crc32(body))).ljust(STAMP_BYTES, b"\0")


def parse_stamp(page: bytes) -> Stamp | None:
    """None where it is no stamp, or one that is damaged."""
    if len(page) < _FORMAT.size + _CHECKSUM.size:
        return None
    body, (checksum,) = page[: _FORMAT.size], _CHECKSUM.unpack_from(page, _FORMAT.size)
    magic, floor, *marks = _FORMAT.unpack(body)
    if magic != _MAGIC or checksum != zlib.crc32(body):
        return None
    return Stamp(floor, *(mark.rstrip(b"\0").decode() for mark in marks))


def read_stamp(descriptor: int) -> Stamp | None:
    """The stamp at the end of an open file."""
    size = os.fstat(descriptor).st_size
    return None if size < STAMP_BYTES else parse_stamp(os.pread(descriptor, STAMP_BYTES, size - STAMP_BYTES))


def append_stamp(path: Path, stamp: Stamp) -> None:
    """Stamp a file that LMDB has just written and nobody has open, and have it on disk."""
    with path.open("ab") as file:
        file.write(stamp.encode())
        file.flush()
        os.fsync(file.fileno())


class Torn(Exception):
    """A copy that is not whole: in a sentence, why."""


def check_whole(path: Path) -> Stamp | None:
    """The stamp of a copy that may be whole, None where LMDB's own tools made it. Raises ``Torn``.

    A copy whose stamp names a floor is whole if this passes. Without a floor there is no knowing.
    """
    first, second = read_metas(path)
    newest = max(first, second, key=lambda meta: meta.transaction)
    used_bytes = (newest.last_page + 1) * newest.page_bytes
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        stamp = read_stamp(file.fileno())
    if size < used_bytes:
        raise Torn(f"its end is missing: it has {size} bytes, and uses {used_bytes}")
    if stamp is None:
        if size == used_bytes:
            # So they write it, and so ends no file of a server, and hardly a copy of one that was cut off.
            return None
        raise Torn("its end is missing: whatever copied it was interrupted, or did not notice that the file grew")
    if stamp.floor != UNPINNED and newest.transaction < stamp.floor:
        raise Torn(
            "the server went on writing while it was copied, for longer or more than the promise to copies "
            f"allows (it shows transaction {newest.transaction}, of which pages were used again before the copy was "
            f"complete, at {stamp.floor})"
        )
    return stamp
