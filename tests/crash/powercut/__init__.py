"""Cuts the power of a server, as far as its files can tell.

The process runs with a small C library preloaded that logs every write below one directory, and every sync. The
files after a power cut are then made from the log: whatever a completed sync (or an ``O_DSYNC`` write) covers is there,
and of the rest nothing, everything or any part, as a disk pleases. ::

    library = build_library(tmp_path)
    process = subprocess.Popen(command, env={**os.environ, **environment(library, live_dir, durable_dir)})
    ...
    process.kill()
    cut(durable_dir, image_dir, random.Random(1))

Limits: writes through a shared writable mapping, ``sendfile`` and ``copy_file_range`` are not seen, and names
(creating, renaming and removing files) count as durable at once.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from kvschema.engine.file_space import identify

_SOURCE = Path(__file__).parent / "powercut.c"
_HEAD = struct.Struct("<cHQI")
_TORN_FROM_BYTES = 8192
_PAGE_BYTES = 4096
LOG, BASE = "writes.log", "base"


def build_library(directory: Path) -> Path:
    """Compile the library. Skips the test where there is no C compiler, and fails it in continuous integration."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        if os.environ.get("CI"):
            pytest.fail("no C compiler: the power cut tests cannot run")
        pytest.skip("no C compiler: the power cut tests are skipped")
    library = directory / "powercut.so"
    options = ("-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-ldl", "-lpthread")
    command = [compiler, "-o", str(library), str(_SOURCE), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return library


def environment(library: Path, live_dir: Path, durable_dir: Path, *, sync_us: int = 0) -> dict[str, str]:
    """Variables under which a process is watched. What is in ``live_dir`` now counts as durable; an older log goes."""
    shutil.rmtree(durable_dir, ignore_errors=True)
    live_dir.mkdir(parents=True, exist_ok=True)
    # Sockets are no data, and cannot be copied.
    shutil.copytree(live_dir, durable_dir / BASE, ignore=shutil.ignore_patterns("*.sock"))
    return {
        "LD_PRELOAD": str(library),
        "POWERCUT_LIVE": str(live_dir.resolve()),
        "POWERCUT_LOG": str(durable_dir.resolve() / LOG),
        "POWERCUT_SYNC_US": str(sync_us),
    }


class Record(NamedTuple):
    """One call of the watched process: see the head of ``powercut.c``."""

    kind: str
    path: str
    offset: int
    data: bytes


def records(durable_dir: Path) -> Iterator[Record]:
    """The log in order. A record that the kill cut off is not one."""
    log = (durable_dir / LOG).read_bytes()
    at = 0
    while at + _HEAD.size <= len(log):
        kind, path_len, offset, data_len = _HEAD.unpack_from(log, at)
        data_at = at + _HEAD.size + path_len
        end = data_at + data_len
        if end > len(log):
            return
        yield Record(kind.decode(), log[at + _HEAD.size : data_at].decode(), offset, log[data_at:end])
        at = end


class Disk:
    """Files as they are on the disk, and for each the writes that are on their way."""

    def __init__(self, base: Path) -> None:
        found = (path for path in base.rglob("*") if path.is_file())
        self.files = {path.relative_to(base).as_posix(): bytearray(path.read_bytes()) for path in found}
        self._pending: dict[str, list[Record]] = {}

    def feed(self, record: Record) -> None:
        kind, path = record.kind, record.path
        if kind == "S":
            for write in self._pending.pop(path, []):
                _apply(self.files, write)
        elif kind == "D":
            _apply(self.files, record)
        elif kind == "U":
            self.files.pop(path, None)
            self._pending.pop(path, None)
        elif kind == "R":
            to = record.data.decode()
            self.files[to] = self.files.pop(path, bytearray())
            self._pending[to] = self._pending.pop(path, [])
        else:
            self._pending.setdefault(path, []).append(record)

    def image(self, random: Random | None) -> dict[str, bytes]:
        """What a power cut now leaves: of unsynced writes nothing, or those that ``random`` lets through."""
        files = {path: bytearray(content) for path, content in self.files.items()}
        if random is not None:
            for writes in self._pending.values():
                odds = random.choice((0.1, 0.5, 0.9, 1.0))
                for write in writes:
                    for part in _torn(write):
                        if random.random() < odds:
                            _apply(files, part)
        return {path: bytes(content) for path, content in files.items()}


def _apply(files: dict[str, bytearray], write: Record) -> None:
    content = files.setdefault(write.path, bytearray())
    end = write.offset + len(write.data)
    if write.kind == "T":
        del content[write.offset :]
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if write.data:
        content[write.offset : end] = write.data


def _torn(write: Record) -> Iterator[Record]:
    """Large writes reach the disk page by page, in any order."""
    if len(write.data) <= _TORN_FROM_BYTES:
        yield write
        return
    for at in range(0, len(write.data), _PAGE_BYTES):
        yield write._replace(offset=write.offset + at, data=write.data[at : at + _PAGE_BYTES])


def write_image(image: dict[str, bytes], directory: Path) -> None:
    """Put files where a server can be started on them."""
    shutil.rmtree(directory, ignore_errors=True)
    for path, content in image.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)


def keep_owned(data_dir: Path, names: list[str]) -> None:
    """Put markers of ownership back, which are empty files and so in no image; they mean the file of the image.

    A disk whose power was cut has the same files still, and the names of markers are on it before anything goes on.
    """
    data = data_dir / "data.mdb"
    for left in data_dir.glob("own-*"):
        left.unlink()
    if data.exists():
        with data.open("rb") as file:
            identity = identify(file.fileno())
        for name in names:
            (data_dir / f"own-{identity}-{name.rpartition('-')[2]}").touch()


def cut(durable_dir: Path, image_dir: Path, random: Random | None) -> None:
    """Make the files that are left after a cut at the end of the log."""
    disk = Disk(durable_dir / BASE)
    for record in records(durable_dir):
        disk.feed(record)
    write_image(disk.image(random), image_dir)
