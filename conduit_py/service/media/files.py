"""The files on disk: named by their SHA-256, written once, never changed.

The layout is Conduit's: ``depth`` directories, each named by the next ``length`` digits of the hash, and the rest of
the digits as the file's name.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

import trio

from conduit_py.config import DirectoryStructure
from conduit_py.service.errors import NoSpace
from conduit_py.service.media.blocking import Blocking

CHUNK_BYTES: Final = 256 * 1024
"""Written or read at a time: what an upload or a download takes of memory."""
INCOMING: Final = "incoming"
"""Directory of what is being uploaded, below that of the files: a rename must stay on one disk."""
MARK: Final = ".conduit_py"
"""Says that the directory is ours, so that nobody else's files are taken for left-overs."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def file_key(file_hash: bytes) -> Hashable:
    """The lock of a file, for ``KeyedLocks``."""
    return ("media file", file_hash)


@dataclass(frozen=True, slots=True)
class Received:
    """Content that has arrived in ``incoming/``."""

    path: Path
    file_hash: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """A file that the walk has come by."""

    file_hash: bytes
    path: Path
    modified_ms: int
    is_displaced: bool
    """Lies where another ``directory_structure`` put it."""


class MediaFiles:
    """One per server. ``run_id`` tells this run's unfinished uploads from those of an earlier one."""

    def __init__(self, root: Path, structure: DirectoryStructure, blocking: Blocking, *, run_id: str) -> None:
        self.root = root
        self._structure = structure
        self._blocking = blocking
        self._run_id = run_id
        self._uploads = 0

    def path_of(self, file_hash: bytes) -> Path:
        """Where the file with this content lies."""
        digits, parts = file_hash.hex(), []
        for _ in range(self._structure.depth):
            parts.append(digits[: self._structure.length])
            digits = digits[self._structure.length :]
        return self.root.joinpath(*parts, digits)

    # Writing

    @asynccontextmanager
    async def receive(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[Received]:
        """Write content to ``incoming/`` for the block, hashing it on the way. ``place`` keeps it for good.

        Raises what ``chunks`` raises, and ``NoSpace``.
        """
        self._uploads += 1
        path = self.root / INCOMING / f"{self._run_id}-{self._uploads}"
        incoming = await self._write(_Incoming, self.root, path)
        try:
            gathered = bytearray()
            async for chunk in chunks:
                gathered += chunk
                if len(gathered) >= CHUNK_BYTES:
                    await self._write(incoming.write, bytes(gathered))
                    gathered.clear()
            if gathered:
                await self._write(incoming.write, bytes(gathered))
            yield Received(path, incoming.digest.digest(), incoming.size)
        finally:
            with trio.CancelScope(shield=True):
                await self._blocking.run(incoming.discard)

    async def place(self, received: Received, *, has_row: bool) -> None:
        """Bring the content to its place; it is on disk, name and all, on return. Raises ``NoSpace``.

        Where there is a row, a file of the right size is believed.
        """
        await self._write(_place, received, self.path_of(received.file_hash), has_row)

    async def _write(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        try:
            return await self._blocking.run(function, *args)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise NoSpace("The server is out of disk space: nothing was stored") from error
            raise

    async def move_home(self, found: Found) -> None:
        """Bring a displaced file to where it is looked for."""
        await self._blocking.run(_move, found.path, self.path_of(found.file_hash))

    async def remove(self, file_hash: bytes) -> None:
        """Remove the file if it is there. Its row has gone before."""
        await self.remove_path(self.path_of(file_hash))

    async def remove_path(self, path: Path) -> None:
        await self._blocking.run(_unlink, path)

    # Reading

    async def read_part(self, file_hash: bytes, start: int, length: int) -> bytes:
        """A part that fits into memory. Raises ``FileNotFoundError``."""
        return await self._blocking.run(_read_part, self.path_of(file_hash), start, length)

    async def open_stream(self, file_hash: bytes, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """A part in chunks, from a file that is open on return. Whoever gets the generator closes it.

        Raises ``FileNotFoundError``.
        """
        chunks = self._read_chunks(file_hash, start, length)
        await anext(chunks)
        return chunks

    async def _read_chunks(self, file_hash: bytes, start: int, length: int) -> AsyncGenerator[bytes, None]:
        descriptor = await self._blocking.run(os.open, self.path_of(file_hash), os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield b""
            end = start + length
            while start < end:
                chunk = await self._blocking.run(os.pread, descriptor, min(CHUNK_BYTES, end - start), start)
                if not chunk:
                    raise EOFError(f"the media file {file_hash.hex()} ends at byte {start} of {end}")
                start += len(chunk)
                yield chunk
        finally:
            os.close(descriptor)

    # Looking after

    async def discard_unfinished(self) -> int:
        """Remove what an earlier run left in ``incoming/``; how many files that were."""
        return await self._blocking.run(_discard_unfinished, self.root / INCOMING, self._run_id)

    async def is_ours(self) -> bool:
        """Was the directory empty, or absent, when this server first stored something in it?"""
        return await self._blocking.run((self.root / MARK).exists)

    async def walk(self, *, at_a_time: int) -> AsyncGenerator[list[Found], None]:
        """Every file in lists of bounded length. Files with names that are not ours are passed over."""
        files = self.find()
        while found := await self._blocking.run(_take, files, at_a_time):
            yield found

    def find(self) -> Iterator[Found]:
        """As ``walk``, for whoever may wait for the disk."""
        for folder, folders, names in os.walk(self.root):
            if Path(folder) == self.root and INCOMING in folders:
                folders.remove(INCOMING)
            digits = "".join(Path(folder).relative_to(self.root).parts)
            for name in names:
                if _HASH.fullmatch(digits + name) is None:
                    continue
                path, file_hash = Path(folder, name), bytes.fromhex(digits + name)
                try:
                    modified_ms = path.stat().st_mtime_ns // 1_000_000
                except FileNotFoundError:
                    continue
                yield Found(file_hash, path, modified_ms, path != self.path_of(file_hash))


def _take(files: Iterator[Found], count: int) -> list[Found]:
    return [found for _, found in zip(range(count), files, strict=False)]


class _Incoming:
    """A file that is being written."""

    def __init__(self, root: Path, path: Path) -> None:
        _prepare(root)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._path = path
        self.digest = sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self.digest.update(data)
        with memoryview(data) as view:
            written = 0
            while written < len(view):
                written += os.write(self._descriptor, view[written:])
        self.size += len(data)

    def discard(self) -> None:
        """Let go of it, wherever it was placed meanwhile."""
        os.close(self._descriptor)
        _unlink(self._path)


def _prepare(root: Path) -> None:
    incoming = root / INCOMING
    if incoming.is_dir():
        return
    if not root.exists() or not any(root.iterdir()):
        _make_directory(root)
        (root / MARK).touch(mode=0o600)
    _make_directory(incoming)


def _make_directory(path: Path) -> None:
    """Make a directory and those above it, each synced into the one it is in."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _place(received: Received, target: Path, has_row: bool) -> None:
    if has_row and _size_of(target) == received.size:
        return
    descriptor = os.open(received.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _move(received.path, target)


def _move(source: Path, target: Path) -> None:
    _make_directory(target.parent)
    source.rename(target)
    _sync_directory(target.parent)


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _read_part(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _discard_unfinished(incoming: Path, run_id: str) -> int:
    if not incoming.is_dir():
        return 0
    left = [path for path in incoming.iterdir() if not path.name.startswith(f"{run_id}-")]
    for path in left:
        _unlink(path)
    return len(left)
