"""The commands about media: what they do to what is stored, and to what users get."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from conduit_py.data.consistency import check_consistency
from conduit_py.matrix.ids import ServerName
from conduit_py.service.admin import things
from conduit_py.service.admin.media import MediaTools, build_media_commands
from conduit_py.service.media import selection
from tests.rig.admin import Console, console, enter
from tests.rig.client import Client
from tests.rig.images import plain
from tests.rig.media import MediaServer, ask_upload, download, mxc_of, open_media, thumbnail, upload
from tests.rig.other_servers import OtherServers
from tests.rig.server import SERVER_NAME, Server
from tests.rig.whole import open_whole

FAR, ELSEWHERE = "mxc://two.test/abc", "mxc://two.test/def"
GONE = (404, "M_NOT_FOUND")


@pytest.fixture
def others() -> OtherServers:
    return OtherServers()


@pytest.fixture
async def media(server: Server, tmp_path: Path, others: OtherServers) -> AsyncIterator[MediaServer]:
    async with open_media(server, tmp_path / "media", source=others) as media:
        yield media
        with media.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []


@pytest.fixture
def cli(media: MediaServer) -> Console:
    tools = MediaTools(
        store=media.store,
        server_name=ServerName(SERVER_NAME),
        removal=media.media.removal,
        blocks=media.media.blocks,
        fetch=media.media.fetch,
        get_path=media.media.files.path_of,
    )
    return console(*build_media_commands(tools))


@pytest.fixture
async def alice(media: MediaServer) -> Client:
    return await media.register("alice")


def listed(command: str, *lines: str) -> str:
    return "\n".join([command, "```", *lines, "```"])


async def test_query_media_tells_everything(media: MediaServer, cli: Console, alice: Client) -> None:
    image = plain(100, 100)
    uri = await upload(alice, image, "image/png", filename="holiday.png")
    same = await upload(alice, image, "image/png")
    assert (await thumbnail(alice, uri, width=32, height=32)).status == 200
    text = await cli.ask(f"query-media {uri}")
    for part in (uri, same, "holiday.png", "image/png", alice.user_id, sha256(image).hexdigest(), "32x32"):
        assert part in text
    assert "Blocked" not in text
    await media.media.blocks.block(mxc_of(uri), "unlawful")
    assert "because: unlawful" in await cli.ask(f"query-media {uri}")


@pytest.mark.parametrize("uri", ["mxc://one.test/nothing", "mxc://one.test", "https://one.test/x", "mxc:///x"])
async def test_query_media_of_what_is_not_there(media: MediaServer, cli: Console, uri: str) -> None:
    async with media.leaves_no_trace():
        await cli.fail(f"query-media {uri}")


async def test_show_media_tells_where_it_is(media: MediaServer, cli: Console, others: OtherServers) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, b"hello", filename="letter.txt")
    answer = await cli.give(f"show-media {uri}")
    assert f"{uri} is text/plain, 5 B." in answer.text
    assert str(media.root / media.on_disk()[0]) in answer.text
    assert answer.attachment is not None
    assert (answer.attachment.uri, answer.attachment.filename) == (uri, "letter.txt")
    others.has(FAR, b"far")
    await cli.ask(f"show-media {FAR}")
    await media.media.blocks.block(mxc_of(uri), None)
    async with media.leaves_no_trace():
        await cli.fail(f"show-media {uri}")
        await cli.fail(f"show-media {ELSEWHERE}")
        await cli.fail("show-media nonsense")


async def test_show_media_shows_it_in_the_room(server: Server, tmp_path: Path) -> None:
    async with open_whole(server, MEDIA__PATH=str(tmp_path / "media")) as whole:
        await whole.admin.prepare()
        chat = await enter(await whole.register("alice"))
        uri = await upload(chat.client, plain(10, 10), "image/png", filename="holiday.png")
        await chat.ask(f"show-media {uri}")
        shown = (await chat.read_all())[-1]["content"]
        assert (shown["msgtype"], shown["url"], shown["body"]) == ("m.image", uri, "holiday.png")
        assert str(tmp_path) not in str(await chat.read_all())


async def test_list_media_filters(
    media: MediaServer, cli: Console, others: OtherServers, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(selection, "SCANNED_AT_ONCE", 2)
    alice, bob = await media.register("alice"), await media.register("bob")
    image, text = await upload(alice, plain(10, 10), "image/png"), await upload(bob, b"text")
    await trio.sleep(24 * 3600)
    late = await upload(alice, b"late")
    others.has(FAR, b"far")
    assert (await download(alice, FAR)).status == 200
    everything = {image, text, late, FAR}
    for options, expected in (
        ("", everything),
        ("--user alice", {image, late}),
        (f"-u {bob.user_id}", {text}),
        ("--server two.test", {FAR}),
        (f"-s {SERVER_NAME}", {image, text, late}),
        ("--content-type image", {image}),
        ("-c image/png", {image}),
        ("-c image/gif", set()),
        ("--uploaded-after 2023-11-15T12:00:00", {late, FAR}),
        ("--uploaded-before 2023-11-15T12:00:00", {image, text}),
        ("-a 2023-11-15T12:00:00 -u alice", {late}),
    ):
        answer = await cli.ask(f"list-media {options}")
        assert {uri for uri in everything if uri in answer} == expected, (options, answer)
    assert (await cli.ask("list-media")).splitlines()[0] == f"4 media, {things.show_bytes(len(plain(10, 10)) + 11)}:"
    await cli.fail("list-media --user nobody")
    await cli.fail("list-media --uploaded-after yesterday")


async def test_list_media_comes_in_pages(cli: Console, alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(things, "ROWS_PER_PAGE", 2)
    uris = {await upload(alice, f"{number}".encode()) for number in range(5)}
    pages = [await cli.ask(f"list-media --include-thumbnails --page {page}") for page in (1, 2, 3)]
    shown = [{uri for uri in uris if uri in page} for page in pages]
    assert [len(some) for some in shown] == [2, 2, 1]
    assert set.union(*shown) == uris
    assert "page 2 of 3" in pages[1]
    assert "There are 3 pages" in await cli.fail("list-media --page 4")


async def test_purge_media_removes_all_with_the_same_content(media: MediaServer, cli: Console, alice: Client) -> None:
    bob = await media.register("bob")
    bad, same, good = await upload(alice, b"bad"), await upload(bob, b"bad"), await upload(alice, b"good")
    assert await cli.ask(listed("purge-media", bad, "mxc://one.test/unknown")) == "Removed 2 media."
    assert cli.reported == [(1, 1)]
    assert [(await download(alice, uri)).status for uri in (bad, same, good)] == [404, 404, 200]
    assert len(media.on_disk()) == 1


@pytest.mark.parametrize("body", ["", "nonsense", "mxc://one.test/ok\nmxc://"])
async def test_purge_media_takes_nothing_but_uris(media: MediaServer, cli: Console, alice: Client, body: str) -> None:
    await upload(alice, b"good")
    async with media.leaves_no_trace():
        await cli.fail(listed("purge-media", body))


async def test_purge_media_from_users(media: MediaServer, cli: Console, autojump_clock: MockClock) -> None:
    alice, bob = await media.register("alice"), await media.register("bob")
    old, others = await upload(alice, b"old"), await upload(bob, b"new")
    await trio.sleep(3 * 24 * 3600)
    new = await upload(alice, b"new")
    assert await cli.ask(listed("purge-media-from-users --from-last 2d", "alice")) == "Removed 1 medium."
    assert [(await download(alice, uri)).status for uri in (old, new, others)] == [200, 404, 200]
    async with media.leaves_no_trace():
        await cli.fail(listed("purge-media-from-users", "alice", "nobody"))
        await cli.fail(listed("purge-media-from-users --from-last soon", "alice"))
    again = await upload(alice, b"new")
    assert await cli.ask(listed("purge-media-from-users -f", alice.user_id)) == "Removed 3 media."
    assert [(await download(alice, uri)).status for uri in (old, again, others)] == [404, 404, 404]
    assert media.on_disk() == []


async def test_purge_media_from_server(media: MediaServer, cli: Console, others: OtherServers, alice: Client) -> None:
    others.has(FAR, b"far")
    assert (await download(alice, FAR)).status == 200
    own = await upload(alice, b"own")
    assert await cli.ask("purge-media-from-server two.test") == "Removed 1 medium."
    assert media.row_of(FAR) is None
    assert (await download(alice, FAR)).status == 200
    async with media.leaves_no_trace():
        assert "purge-media-from-users" in await cli.fail("purge-media-from-server one.test")
        await cli.fail("purge-media-from-server 'no server'")
    assert (await download(alice, own)).status == 200


async def test_blocked_content_is_seen_under_no_uri(
    media: MediaServer, cli: Console, others: OtherServers, alice: Client
) -> None:
    image = plain(100, 100)
    bad, same = await upload(alice, image, "image/png"), await upload(alice, image, "image/png")
    others.has(FAR, image)
    assert await cli.ask(listed("block-media --reason unlawful", bad, ELSEWHERE)) == "Blocked 2 media."
    for uri in (bad, same):
        assert (await download(alice, uri)).outcome == GONE
        assert (await thumbnail(alice, uri, width=32, height=32)).outcome == GONE
    kept = media.on_disk()
    assert (await ask_upload(alice, image, "image/png")).outcome == (403, "M_FORBIDDEN")
    assert (await download(alice, FAR)).outcome == GONE
    assert media.row_of(FAR) is None
    assert media.on_disk() == kept
    text = await cli.ask("list-blocked-media")
    assert text.startswith("2 media:")
    for part in (bad, ELSEWHERE, "unlawful", "not known"):
        assert part in text
    assert await cli.ask(listed("unblock-media", bad, ELSEWHERE, same)) == "Unblocked 2 media."
    assert await cli.ask("list-blocked-media") == "No medium is blocked."
    for uri in (bad, same):
        assert (await download(alice, uri)).status == 200
    assert (await ask_upload(alice, image, "image/png")).status == 200


async def test_block_media_and_purge(media: MediaServer, cli: Console, alice: Client) -> None:
    bad, same = await upload(alice, b"bad"), await upload(alice, b"bad")
    text = await cli.ask(listed("block-media --and-purge", bad))
    assert text == "Blocked 1 medium. Removed 2 media."
    assert media.on_disk() == []
    assert (media.row_of(bad), media.row_of(same)) == (None, None)
    assert (await ask_upload(alice, b"bad")).outcome == (403, "M_FORBIDDEN")
    # Blocked once more, when it is not here any more: its content stays blocked.
    await cli.ask(listed("block-media", bad))
    assert (await ask_upload(alice, b"bad")).outcome == (403, "M_FORBIDDEN")


async def test_block_media_from_users(media: MediaServer, cli: Console, autojump_clock: MockClock) -> None:
    alice, bob = await media.register("alice"), await media.register("bob")
    old, others = await upload(alice, b"old"), await upload(bob, b"others")
    await trio.sleep(24 * 3600)
    new = await upload(alice, b"new")
    assert await cli.ask(listed("block-media-from-users -f '60 min'", "alice")) == "Blocked 1 medium."
    assert [(await download(bob, uri)).status for uri in (old, new, others)] == [200, 404, 200]
