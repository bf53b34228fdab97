"""Files arrive whole or not at all, lie where the configuration says, and are believed only with a row."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from conduit_py.config import DirectoryStructure
from conduit_py.service.media import files as files_module
from conduit_py.service.media.blocking import Blocking
from conduit_py.service.media.files import CHUNK_BYTES, INCOMING, MARK, MediaFiles


def make(root: Path, depth: int = 2, length: int = 2, run_id: str = "run") -> MediaFiles:
    return MediaFiles(root, DirectoryStructure(depth, length), Blocking(None), run_id=run_id)


async def in_parts(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        await trio.lowlevel.checkpoint()
        yield content[start : start + size]


async def store(files: MediaFiles, content: bytes) -> bytes:
    async with files.receive(in_parts(content)) as received:
        await files.place(received, has_row=False)
    return received.file_hash


@pytest.mark.parametrize(("depth", "length", "parts"), [(0, 0, 1), (1, 3, 2), (2, 2, 3), (9, 7, 10)])
async def test_files_lie_where_the_structure_says(tmp_path: Path, depth: int, length: int, parts: int) -> None:
    files = make(tmp_path / "media", depth, length)
    file_hash = await store(files, b"hello")
    path = files.path_of(file_hash).relative_to(files.root)
    assert len(path.parts) == parts
    assert [len(part) for part in path.parts[:-1]] == [length] * depth
    assert "".join(path.parts) == sha256(b"hello").hexdigest()
    assert files.path_of(file_hash).read_bytes() == b"hello"


async def test_files_are_nobody_elses_business(tmp_path: Path) -> None:
    files = make(tmp_path / "media")
    path = files.path_of(await store(files, b"hello"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(above.stat().st_mode) for above in (path.parent, path.parent.parent, files.root)} == {0o700}


async def test_content_is_synced_before_it_is_named_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make(tmp_path / "media")
    await store(files, b"first")
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def watch_sync(descriptor: int) -> None:
        done.append("sync " + os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), files.root).split("/")[0])
        sync(descriptor)

    def watch_rename(source: Path, target: Path) -> Path:
        done.append("rename")
        return rename(source, target)

    monkeypatch.setattr(files_module.os, "fsync", watch_sync)  # type: ignore[attr-defined]
    monkeypatch.setattr(Path, "rename", watch_rename)
    digits = (await store(files, b"second")).hex()
    assert done == [f"sync {INCOMING}", "sync .", f"sync {digits[:2]}", "rename", f"sync {digits[:2]}"]


async def test_a_client_that_hangs_up_leaves_nothing(tmp_path: Path) -> None:
    async def break_off() -> AsyncIterator[bytes]:
        yield bytes(CHUNK_BYTES)
        raise ConnectionResetError

    files = make(tmp_path / "media")
    with pytest.raises(ConnectionResetError):
        async with files.receive(break_off()):
            raise AssertionError("it was not whole")
    assert list((files.root / INCOMING).iterdir()) == []


async def test_an_upload_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    async def stall() -> AsyncIterator[bytes]:
        yield bytes(CHUNK_BYTES)
        scope.cancel()
        await trio.sleep_forever()

    files = make(tmp_path / "media")
    with trio.CancelScope() as scope:
        async with files.receive(stall()):
            raise AssertionError("it was not whole")
    assert scope.cancelled_caught
    assert list((files.root / INCOMING).iterdir()) == []


async def test_an_upload_takes_memory_for_one_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = os.write

    def watch(descriptor: int, data: bytes) -> int:
        written.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(files_module.os, "write", watch)  # type: ignore[attr-defined]
    content = bytes(10 * CHUNK_BYTES)
    files = make(tmp_path / "media")
    assert await store(files, content) == sha256(content).digest()
    assert max(written) < CHUNK_BYTES + 1000


async def test_what_an_earlier_run_left_goes_and_what_this_one_does_stays(tmp_path: Path) -> None:
    old, new = make(tmp_path / "media", run_id="old"), make(tmp_path / "media", run_id="new")
    await store(old, b"whole")
    (old.root / INCOMING / "old-7").write_bytes(b"the power failed here")
    async with new.receive(in_parts(b"on its way")) as received:
        assert await new.discard_unfinished() == 1
        assert list((new.root / INCOMING).iterdir()) == [received.path]
        await new.place(received, has_row=False)
    assert sorted(path.read_bytes() for path in new.root.rglob("*") if path.is_file() and path.name != MARK) == [
        b"on its way",
        b"whole",
    ]


async def test_a_directory_with_other_files_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    files = make(tmp_path / "media")
    (files.root / "holiday.jpg").write_bytes(b"")
    await store(files, b"hello")
    assert not await files.is_ours()
    fresh = make(tmp_path / "new" / "media")
    assert not await fresh.is_ours()
    await store(fresh, b"hello")
    assert await fresh.is_ours()


async def test_a_file_without_a_row_is_not_believed(tmp_path: Path) -> None:
    files = make(tmp_path / "media")
    path = files.path_of(await store(files, b"hello"))
    for content, has_row in ((b"hellO", False), (b"hel", True)):
        path.write_bytes(content)
        async with files.receive(in_parts(b"hello")) as received:
            await files.place(received, has_row=has_row)
        assert path.read_bytes() == b"hello"


async def test_walk_finds_every_file_and_nothing_else(tmp_path: Path) -> None:
    files = make(tmp_path / "media")
    hashes = {await store(files, bytes([number])) for number in range(7)}
    flat = make(tmp_path / "media", 0, 0)
    displaced = await store(flat, b"elsewhere")
    (files.root / "readme").write_bytes(b"not ours")
    (files.root / INCOMING / "run-1").write_bytes(b"on its way")
    found = [one for batch in [batch async for batch in files.walk(at_a_time=3)] for one in batch]
    assert {one.file_hash for one in found} == hashes | {displaced}
    assert [one.file_hash for one in found if one.is_displaced] == [displaced]


async def test_work_leaves_the_event_loop_if_it_may() -> None:
    from threading import get_ident

    here = get_ident()
    assert await Blocking(trio.CapacityLimiter(1)).run(get_ident) != here
    assert await Blocking(None).run(get_ident) == here
