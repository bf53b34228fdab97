"""What is removed goes with what only it needs, and never a file that something else needs."""

from __future__ import annotations

import pytest
import trio

from conduit_py.data import media as rows
from conduit_py.service.media import removal
from conduit_py.service.media.files import MediaFiles
from kvschema.catalog import media as trees
from tests.rig.images import plain
from tests.rig.media import MediaServer, ask_upload, download, mxc_of, thumbnail, upload


def counts(media: MediaServer) -> dict[str, int]:
    with media.store.snapshot() as snapshot:
        return {tree.name: snapshot.count(tree.name) for tree in trees.TREES if snapshot.count(tree.name)}


async def test_remove_media_takes_its_thumbnails_and_files_with_it(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, plain(200, 200), "image/png")
    for size in (32, 96):
        assert (await thumbnail(alice, uri, width=size, height=size)).status == 200
    assert len(media.on_disk()) == 3
    assert await media.media.removal.remove_media(mxc_of(uri))
    assert media.on_disk() == []
    assert counts(media) == {}
    assert (await download(alice, uri)).outcome == (404, "M_NOT_FOUND")
    assert not await media.media.removal.remove_media(mxc_of(uri))


async def test_remove_media_leaves_what_others_need(media: MediaServer) -> None:
    alice = await media.register("alice")
    first, second = [await upload(alice, plain(200, 200), "image/png") for _ in range(2)]
    for uri in (first, second):
        assert (await thumbnail(alice, uri, width=32, height=32)).status == 200
    assert len(media.on_disk()) == 2
    await media.media.removal.remove_media(mxc_of(first))
    assert len(media.on_disk()) == 2
    assert (await download(alice, second)).body == plain(200, 200)
    assert (await thumbnail(alice, second, width=32, height=32)).status == 200
    await media.media.removal.remove_media(mxc_of(second))
    assert media.on_disk() == []


async def test_remove_media_leaves_a_file_that_is_a_thumbnail_elsewhere(media: MediaServer) -> None:
    alice = await media.register("alice")
    large = await upload(alice, plain(200, 200), "image/png")
    small = (await thumbnail(alice, large, width=32, height=32)).body
    same = await upload(alice, small, "image/jpeg")
    assert len(media.on_disk()) == 2
    await media.media.removal.remove_media(mxc_of(same))
    assert (await thumbnail(alice, large, width=32, height=32)).body == small


async def test_remove_file_takes_everything_whose_content_it_is(
    media: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "REFERENCES_MAX", 2)
    alice = await media.register("alice")
    uris = [await upload(alice, plain(200, 200), "image/png") for _ in range(5)]
    for uri in uris:
        assert (await thumbnail(alice, uri, width=32, height=32)).status == 200
    await media.media.access.flush()
    file_hash = media.row_of(uris[0]).file_hash  # type: ignore[union-attr]
    with media.store.snapshot() as snapshot:
        row = rows.get_file(snapshot, file_hash)
    assert row is not None
    freed = await media.media.removal.remove_file(file_hash, row)
    assert freed[file_hash] == len(plain(200, 200))
    assert len(freed) == 2
    assert counts(media) == {}
    assert media.on_disk() == []


async def test_remove_file_spares_what_was_used_meanwhile(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, b"x")
    await media.media.access.flush()
    file_hash = media.row_of(uri).file_hash  # type: ignore[union-attr]
    with media.store.snapshot() as snapshot:
        row = rows.get_file(snapshot, file_hash)
    assert row is not None
    again = await upload(alice, b"x")
    assert await media.media.removal.remove_file(file_hash, row) == {}
    assert (await download(alice, again)).body == b"x"
    assert await media.media.removal.remove_file(file_hash, row._replace(accessed_ms=row.accessed_ms + 1)) == {}


async def test_uploads_and_removals_of_the_same_content_at_once(media: MediaServer) -> None:
    """Whatever the order, a medium that is there has its file, which the fixture checks on the disk."""
    alice = await media.register("alice")
    uris: list[str] = []

    async def go(number: int) -> None:
        for step in range(10):
            uris.append(await upload(alice, b"the same"))
            if (number + step) % 2:
                await media.media.removal.remove_media(mxc_of(uris[(number * step) % len(uris)]))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(go, number)
    for uri in uris:
        is_there = media.row_of(uri) is not None
        assert (await download(alice, uri)).status == (200 if is_there else 404)


async def test_removals_and_thumbnails_of_the_same_medium_at_once(media: MediaServer) -> None:
    async def remove(uri: str, delay: int) -> None:
        for _ in range(delay):
            await trio.lowlevel.checkpoint()
        assert await media.media.removal.remove_media(mxc_of(uri))

    async def show(uri: str) -> None:
        assert (await thumbnail(alice, uri, width=32, height=32)).status in (200, 404)

    alice = await media.register("alice")
    for delay in range(30):
        uri = await upload(alice, plain(100, 100), "image/png")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(show, uri)
            nursery.start_soon(remove, uri, delay)
    assert counts(media) == {}
    assert media.on_disk() == []


async def test_a_removal_that_is_cut_off_is_made_up_for(media: MediaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are gone and the process ends before the file is."""

    async def end(self: MediaFiles, file_hash: bytes) -> None:
        raise KeyboardInterrupt

    alice = await media.register("alice")
    uri = await upload(alice, b"x")
    with monkeypatch.context() as patch:
        patch.setattr(MediaFiles, "remove", end)
        with pytest.raises(KeyboardInterrupt):
            await media.media.removal.remove_media(mxc_of(uri))
    assert counts(media) == {}
    assert len(media.on_disk()) == 1
    assert (await ask_upload(alice, b"x")).status == 200
    assert len(media.on_disk()) == 1
