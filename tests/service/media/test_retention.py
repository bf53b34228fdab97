"""What is swept away, when, and what is not."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from conduit_py.config import MediaRetention, MediaScope, RetentionPolicies
from conduit_py.data import media as rows
from conduit_py.data.server import stage_put_back
from conduit_py.service.media import retention
from conduit_py.service.media.files import INCOMING, MARK
from kvschema.catalog import media as trees
from kvschema.catalog.media import ByMxc, File, Media
from kvschema.errors import StorageFull
from tests.rig.images import plain
from tests.rig.media import MediaServer, create, download, mxc_of, open_media, thumbnail, upload
from tests.rig.other_servers import Medium, OtherServers
from tests.rig.server import START_MS, Server

DAY_S = 24 * 3600


@asynccontextmanager
async def kept(server: Server, root: Path, *policies: str) -> AsyncIterator[MediaServer]:
    """A running server with these policies of retention."""
    async with open_media(server, root / "media", runs=True, MEDIA__RETENTION=f"[{', '.join(policies)}]") as media:
        yield media


async def pretend_remote(media: MediaServer, uri: str) -> str:
    """Make a medium one of another server's."""
    mxc, row = mxc_of(uri), media.row_of(uri)
    assert row is not None
    remote = ByMxc("two.test", mxc.media_id)
    async with media.store.writer.turn() as turn:
        rows.stage_media_removed(turn, mxc, row)
        rows.stage_media(turn, remote, Media(row.file_hash, row.content_type, row.created_ms))
    return f"mxc://two.test/{mxc.media_id}"


async def is_there(media: MediaServer, *uris: str) -> list[bool]:
    return [media.row_of(uri) is not None for uri in uris]


async def test_nothing_of_our_users_goes_unless_it_is_said(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_media(server, tmp_path / "media", runs=True) as media:
        alice = await media.register("alice")
        uri = await upload(alice, b"x")
        await trio.sleep(400 * DAY_S)
        assert (await download(alice, uri)).body == b"x"


async def test_remote_media_and_thumbnails_go_when_nobody_asks_for_them(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The default: a month without access."""
    async with open_media(server, tmp_path / "media", runs=True) as media:
        alice = await media.register("alice")
        image = await upload(alice, plain(200, 200), "image/png")
        assert (await thumbnail(alice, image, width=32, height=32)).status == 200
        uris = [await pretend_remote(media, await upload(alice, bytes([number]))) for number in range(2)]
        for _ in range(3):
            await trio.sleep(20 * DAY_S)
            assert (await download(alice, uris[0])).status == 200
            await trio.sleep(120)
        assert await is_there(media, image, *uris) == [True, True, False]
        assert len(media.on_disk()) == 2, "the image and what was asked for"
        assert (await thumbnail(alice, image, width=32, height=32)).status == 200


async def test_policies_can_be_replaced(server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with open_media(server, tmp_path / "media", runs=True) as media:
        uri = await upload(await media.register("alice"), b"x")
        await trio.sleep(2 * DAY_S)
        assert await is_there(media, uri) == [True]
        assert media.media.sweep.bytes_by_scope == {MediaScope.LOCAL: 1}
        one_day = MediaRetention(created=DAY_S)
        media.media.sweep.replace(RetentionPolicies({MediaScope.LOCAL: one_day}, global_space=None))
        await trio.sleep(DAY_S)
        assert await is_there(media, uri) == [False]


async def test_media_go_by_age_however_often_they_are_asked_for(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with kept(server, tmp_path, '{scope = "local", created = "10d"}') as media:
        alice = await media.register("alice")
        uri = await upload(alice, b"x")
        for _ in range(9):
            await trio.sleep(DAY_S)
            assert (await download(alice, uri)).status == 200
        await trio.sleep(1.2 * DAY_S)
        assert (await download(alice, uri)).status == 404
        assert media.on_disk() == []


async def test_an_image_whose_thumbnail_is_looked_at_stays(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    policies = [f'{{scope = "{scope}", accessed = "10d"}}' for scope in ("local", "thumbnail")]
    async with kept(server, tmp_path, *policies) as media:
        alice = await media.register("alice")
        uri = await upload(alice, plain(200, 200), "image/png")
        for _ in range(4):
            assert (await thumbnail(alice, uri, width=32, height=32)).status == 200
            await trio.sleep(5 * DAY_S)
        assert (await download(alice, uri)).status == 200
        await trio.sleep(10.2 * DAY_S)
        assert media.on_disk() == []


async def test_the_longest_unused_make_room(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with kept(server, tmp_path, '{scope = "local", space = "1000"}') as media:
        alice = await media.register("alice")
        uris = []
        for number in range(4):
            uris.append(await upload(alice, bytes([number]) * 300))
            await trio.sleep(3700)
            if number == 2:
                assert (await download(alice, uris[0])).status == 200
                await trio.sleep(100)
        await trio.sleep(2 * 3600)
        assert await is_there(media, *uris) == [True, False, True, True]


async def test_space_of_all_scopes_together(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with kept(server, tmp_path, '{space = "1000"}') as media:
        alice = await media.register("alice")
        oldest = await upload(alice, b"1" * 600)
        await trio.sleep(2)
        remote = await pretend_remote(media, await upload(alice, b"2" * 600))
        await trio.sleep(2 * 3600)
        assert await is_there(media, oldest, remote) == [False, True]


async def test_no_more_goes_than_has_to(server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """The thumbnails that go with a medium make room as well."""
    async with kept(server, tmp_path, '{space = "6000"}') as media:
        alice = await media.register("alice")
        uris = []
        for number in range(5):
            uris.append(await upload(alice, plain(100 + number, 100) + bytes(1000), "image/png"))
            await trio.sleep(10)
            assert (await thumbnail(alice, uris[-1], width=90 + number, height=95, method="crop")).status == 200
            await trio.sleep(10)
        sizes = [(media.root / path).stat().st_size for path in media.on_disk()]
        assert len(sizes) == 10
        await trio.sleep(2 * 3600)
        left = sum((media.root / path).stat().st_size for path in media.on_disk())
        assert left <= 6000 < left + max(sizes) * 2
        there = await is_there(media, *uris)
        assert there == sorted(there), "the oldest go first"


async def test_a_file_of_two_scopes_is_kept_as_the_more_precious(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with kept(server, tmp_path, '{scope = "remote", created = "1d"}') as media:
        alice = await media.register("alice")
        remote = await pretend_remote(media, await upload(alice, b"the same"))
        local = await upload(alice, b"the same")
        await trio.sleep(3 * DAY_S)
        assert await is_there(media, local, remote) == [True, True]
        await media.media.removal.remove_media(mxc_of(local))
        await trio.sleep(2 * 3600)
        assert await is_there(media, local, remote) == [False, False]


async def test_expired_ids_go(server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with kept(server, tmp_path) as media:
        alice = await media.register("alice")
        await create(alice)
        await trio.sleep(12 * 3600)
        await create(alice)
        await trio.sleep(13 * 3600)
        with media.store.snapshot() as snapshot:
            assert snapshot.count(trees.PENDING_MEDIA.name) == snapshot.count(trees.USER_PENDING.name) == 1


@pytest.mark.parametrize("scanned_max", [1, 2, 500])
async def test_sweep_pauses_and_is_taken_up_again(
    server: Server,
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    scanned_max: int,
) -> None:
    monkeypatch.setattr(retention, "SCANNED_MAX", scanned_max)
    policy = '[{scope = "local", created = "1d"}]'
    async with open_media(server, tmp_path / "media", MEDIA__RETENTION=policy) as media:
        alice = await media.register("alice")
        for number in range(7):
            await upload(alice, bytes([number]))
        await create(alice)
        await media.media.access.flush()
        await trio.sleep(2 * DAY_S)
        with trio.move_on_after(retention.PAUSE_S * 10.5):
            await media.media.sweep.sweep()
        began = trio.current_time()
        await media.media.sweep.sweep()
        if scanned_max == 1:
            assert trio.current_time() > began
        assert media.on_disk() == []
        with media.store.snapshot() as snapshot:
            assert [snapshot.count(tree.name) for tree in trees.TREES] == [0] * len(trees.TREES)


async def test_sweep_stopped_by_the_full_disk_goes_on_later(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: object, *args: object) -> None:
        raise StorageFull("no room")

    async with kept(server, tmp_path, '{scope = "local", created = "1d"}') as media:
        uri = await upload(await media.register("alice"), b"x")
        with monkeypatch.context() as patch:
            patch.setattr("conduit_py.service.media.removal.Removal.remove_file", refuse)
            await trio.sleep(2 * DAY_S)
        assert await is_there(media, uri) == [True]
        await trio.sleep(3600)
        assert await is_there(media, uri) == [False]


# The directory


def left_over(media: MediaServer, name: bytes, age_s: float) -> Path:
    """A file that has no row, written before the test began."""
    path = media.media.files.path_of(name.ljust(32))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(name)
    os.utime(path, (START_MS / 1000 - age_s,) * 2)
    return path


async def test_start_removes_what_a_crash_left(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_media(server, tmp_path / "media") as media:
        alice = await media.register("alice")
        uri = await upload(alice, b"x")
        unfinished = media.root / INCOMING / "earlier-1"
        unfinished.write_bytes(b"the power failed here")
        old, young = left_over(media, b"old", 2 * DAY_S), left_over(media, b"young", 0)
    async with kept(server, tmp_path) as media:
        await trio.sleep(1)
        assert [path.exists() for path in (unfinished, old, young)] == [False, False, True]
        assert (await download(alice, uri)).body == b"x"
        await trio.sleep(2 * DAY_S)
        assert not young.exists()
        assert len(media.on_disk()) == 1


async def test_media_newer_than_a_database_that_was_put_back_are_kept_for_a_month(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_media(server, tmp_path / "media") as media:
        await upload(await media.register("alice"), b"x")
        async with media.store.writer.turn() as turn:
            stage_put_back(turn, START_MS)
        newer = left_over(media, b"newer", 2 * DAY_S)
    async with kept(server, tmp_path):
        await trio.sleep(29 * DAY_S)
        assert newer.exists()
        await trio.sleep(3 * DAY_S)
        assert not newer.exists()


async def test_a_file_without_a_reference_is_collected(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A process that ended between a medium's going and its file's."""
    async with kept(server, tmp_path) as media:
        path = left_over(media, b"released", 0)
        async with media.store.writer.turn() as turn:
            rows.stage_file(turn, b"released".ljust(32), File(8, START_MS, START_MS))
        await trio.sleep(2 * 3600)
        assert not path.exists()
        with media.store.snapshot() as snapshot:
            assert rows.get_file(snapshot, b"released".ljust(32)) is None


async def test_files_of_another_structure_are_brought_home(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_media(server, tmp_path / "media") as media:
        alice = await media.register("alice")
        uri = await upload(alice, b"x")
    structure = "{depth = 1, length = 3}"
    async with open_media(server, tmp_path / "media", runs=True, MEDIA__DIRECTORY_STRUCTURE=structure) as media:
        await trio.sleep(1)
        assert [len(path.parts) for path in media.on_disk()] == [2]
        assert (await download(await media.log_in(alice), uri)).body == b"x"


async def test_files_of_somebody_else_are_left_alone(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    root = tmp_path / "media"
    theirs = root / "ab" / "cd" / ("0" * 60)
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"of another server")
    os.utime(theirs, (0, 0))
    async with kept(server, tmp_path) as media:
        uri = await upload(await media.register("alice"), b"x")
        await trio.sleep(2 * DAY_S)
        assert theirs.exists()
        assert not (root / MARK).exists()
        assert await is_there(media, uri) == [True]


async def test_a_disk_that_fails_does_not_end_the_server(
    server: Server,
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    expect_errors: list[object],
) -> None:
    async def fail(self: object) -> bool:
        raise OSError(5, "Input/output error")

    async with kept(server, tmp_path) as media:
        with monkeypatch.context() as patch:
            patch.setattr("conduit_py.service.media.files.MediaFiles.is_ours", fail)
            await trio.sleep(2 * DAY_S)
        assert expect_errors
        await create(await media.register("alice"))


# Media of other servers


async def test_what_was_fetched_goes_after_a_month_without_access_and_is_fetched_again(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    others = OtherServers()
    seldom, often = others.has("mxc://two.test/a", plain(50, 50)), others.has("mxc://two.test/b", b"often")
    async with open_media(server, tmp_path / "media", source=others, runs=True) as media:
        alice = await media.register("alice")
        own = await upload(alice, b"our own")
        assert (await download(alice, "mxc://two.test/a")).status == 200
        assert (await thumbnail(alice, "mxc://two.test/a", width=32, height=32)).status == 200
        for _ in range(4):
            assert (await download(alice, "mxc://two.test/b")).body == b"often"
            await trio.sleep(10 * DAY_S)
        assert await is_there(media, own, "mxc://two.test/a", "mxc://two.test/b") == [True, False, True]
        assert len(media.on_disk()) == 2
        assert (await download(alice, "mxc://two.test/a")).body == plain(50, 50)
        assert (len(seldom.asked), len(often.asked)) == (2, 1)


async def test_thumbnails_that_other_servers_made_go_after_a_month_without_access(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    others = OtherServers()
    for name in "ab":
        others.has(f"mxc://two.test/{name}", bytes(200_001))
        others.thumbnails[f"mxc://two.test/{name}"] = Medium(plain(32, 32 + ord(name)), "image/png")
    async with open_media(
        server, tmp_path / "media", source=others, runs=True, MEDIA__REMOTE_SIZE_MAX="200000"
    ) as media:
        alice = await media.register("alice")
        await thumbnail(alice, "mxc://two.test/a", width=32, height=32)
        for _ in range(4):
            assert (await thumbnail(alice, "mxc://two.test/b", width=32, height=32)).status == 200
            await trio.sleep(10 * DAY_S)
        assert len(media.on_disk()) == 1
        assert [len(medium.asked) for medium in others.thumbnails.values()] == [1, 1]


async def test_the_longest_unused_of_other_servers_make_room(
    server: Server, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    others = OtherServers()
    uris = [f"mxc://two.test/{number}" for number in range(5)]
    policies = '[{scope = "remote", space = "1000"}]'
    async with open_media(server, tmp_path / "media", source=others, runs=True, MEDIA__RETENTION=policies) as media:
        alice = await media.register("alice")
        own = await upload(alice, bytes(5000))
        for number, uri in enumerate(uris):
            others.has(uri, bytes([number]) * 300)
            await download(alice, uri)
            await trio.sleep(60)
        await trio.sleep(2 * 3600)
        assert await is_there(media, own, *uris) == [True, False, False, True, True, True]
