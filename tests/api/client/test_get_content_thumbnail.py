"""``GET .../media/thumbnail/{serverName}/{mediaId}``"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from conduit_py.data import media as rows
from conduit_py.data.consistency import check_consistency
from conduit_py.service.media import thumbnailing, thumbnails
from kvschema.catalog.media import THUMBNAILS_PER_MEDIA_MAX
from tests.rig.client import Response
from tests.rig.images import decode, halves, moving, plain, png_that_claims
from tests.rig.media import (
    LEGACY_THUMBNAIL,
    THUMBNAIL,
    MediaServer,
    create,
    download,
    mxc_of,
    open_media,
    thumbnail,
    upload,
)
from tests.rig.server import Server


@pytest.fixture
async def media(server: Server, tmp_path: Path) -> AsyncIterator[MediaServer]:
    async with open_media(server, tmp_path / "media") as media:
        yield media
        with media.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []


def count(media: MediaServer, uri: str) -> int:
    with media.store.snapshot() as snapshot:
        return sum(1 for _ in rows.scan_thumbnails(snapshot, mxc_of(uri)))


async def test_get_content_thumbnail_has_the_size_that_is_wanted(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, halves(1000, 800), "image/jpeg")
    cropped = await thumbnail(alice, uri, width=96, height=96, method="crop")
    assert (cropped.status, cropped.headers["content-type"]) == (200, "image/jpeg")
    assert decode(cropped.body).size == (96, 96)
    scaled = await thumbnail(alice, uri, width=300, height=200, method="scale")
    assert decode(scaled.body).size == (320, 256)
    assert media.throttled[-1] == ("media_fetch", alice.user_id)


async def test_get_content_thumbnail_scales_if_nothing_else_is_said(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, plain(200, 400), "image/png")
    assert decode((await thumbnail(alice, uri, width=32, height=32)).body).size == (32, 64)


async def test_get_content_thumbnail_is_served_safely(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, plain(200, 200), "text/html", "evil.html")
    for _ in ("made", "stored"):
        headers = (await thumbnail(alice, uri, width=32, height=32)).headers
        assert headers["content-type"] == "image/jpeg"
        assert headers["content-disposition"] == "inline; filename=thumbnail.jpeg"
        assert headers["content-security-policy"].startswith("sandbox;")
        assert headers["cross-origin-resource-policy"] == "cross-origin"


async def test_get_content_thumbnail_is_made_once(media: MediaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, plain(200, 200), "image/png")
    responses: list[Response] = []

    async def ask(size: int) -> None:
        responses.append(await thumbnail(alice, uri, width=size, height=size))

    async with trio.open_nursery() as nursery:
        for size in (20, 32, 32):
            nursery.start_soon(ask, size)
    monkeypatch.setattr(thumbnails, "make_thumbnail", None)
    await ask(1)
    assert len({response.body for response in responses}) == 1
    assert len(media.on_disk()) == 2
    etag = responses[0].headers["etag"]
    again = await alice.request("GET", f"{THUMBNAIL}/{uri[6:]}?width=32&height=32", headers={"If-None-Match": etag})
    assert again.status == 304


async def test_get_content_thumbnail_of_a_small_image_is_the_image(media: MediaServer) -> None:
    alice = await media.register("alice")
    content = plain(20, 10)
    uri = await upload(alice, content, "image/png")
    for _ in ("found out", "known"):
        response = await thumbnail(alice, uri, width=32, height=32, method="crop")
        assert (response.body, response.headers["content-type"]) == (content, "image/png")
    assert len(media.on_disk()) == 1
    assert count(media, uri) == 1


async def test_get_content_thumbnail_moves_only_if_it_may(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, moving(200, 100), "image/gif")
    moves = await thumbnail(alice, uri, width=32, height=32, animated="true")
    assert moves.headers["content-type"] == "image/webp"
    assert getattr(decode(moves.body), "n_frames", 1) == 4
    for still in ({"animated": "false"}, {}):
        response = await thumbnail(alice, uri, width=32, height=32, **still)
        assert response.headers["content-type"] == "image/jpeg"
    small = await upload(alice, moving(8, 8), "image/gif")
    assert (await thumbnail(alice, small, width=32, height=32, animated="true")).body == moving(8, 8)
    assert (await thumbnail(alice, small, width=32, height=32)).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("content", [b"", b"text", b"%PDF-1.7", b"GIF89a", b"\xff\xd8\xff\xe0", b"<svg/>"])
async def test_get_content_thumbnail_of_what_is_no_image(media: MediaServer, content: bytes) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, content, "image/png")
    async with media.leaves_no_trace():
        for _ in ("found out", "known"):
            assert (await thumbnail(alice, uri, width=32, height=32)).outcome == (400, "M_UNKNOWN")


async def test_get_content_thumbnail_of_too_many_pixels(media: MediaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, png_that_claims(30_000, 30_000), "image/png")
    async with media.leaves_no_trace():
        assert (await thumbnail(alice, uri, width=32, height=32)).outcome == (413, "M_TOO_LARGE")
        monkeypatch.setattr(thumbnails, "make_thumbnail", None)
        assert (await thumbnail(alice, uri, width=64, height=64)).outcome == (413, "M_TOO_LARGE")


async def test_get_content_thumbnail_of_too_many_pixels_the_old_way(server: Server, tmp_path: Path) -> None:
    async with open_media(server, tmp_path / "media", MEDIA__ALLOW_LEGACY="true") as media:
        uri = await upload(await media.register("alice"), png_that_claims(30_000, 30_000), "image/png")
    async with open_media(server, tmp_path / "media", MEDIA__ALLOW_LEGACY="false") as media:
        response = await thumbnail(media.client(), uri, base=LEGACY_THUMBNAIL, width=32, height=32)
        assert response.outcome == (413, "M_TOO_LARGE")


@pytest.mark.parametrize(
    "query",
    [
        {"width": "0", "height": "32"},
        {"width": "32", "height": "-1"},
        {"width": "32.5", "height": "32"},
        {"width": "1e3", "height": "32"},
        {"width": "9" * 5000, "height": "32"},
        {"width": "32", "height": "32", "method": "stretch"},
        {"width": "32", "height": "32", "animated": "perhaps"},
    ],
)
async def test_get_content_thumbnail_with_a_wrong_parameter(media: MediaServer, query: dict[str, str]) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, plain(100, 100), "image/png")
    async with media.leaves_no_trace():
        assert (await thumbnail(alice, uri, **query)).outcome == (400, "M_INVALID_PARAM")


async def test_get_content_thumbnail_without_a_size(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, plain(100, 100), "image/png")
    assert (await thumbnail(alice, uri, width=32)).outcome == (400, "M_MISSING_PARAM")


async def test_get_content_thumbnail_that_may_not_be_seen(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, plain(100, 100), "image/png")
    size = {"width": "32", "height": "32"}
    assert (await thumbnail(media.client(), uri, **size)).outcome == (401, "M_MISSING_TOKEN")
    assert (await thumbnail(media.client(), uri, base=LEGACY_THUMBNAIL, **size)).outcome == (404, "M_NOT_FOUND")
    assert (await thumbnail(alice, "mxc://two.test/remote", **size)).outcome == (404, "M_NOT_FOUND")
    pending = await create(alice)
    assert (await thumbnail(alice, pending, timeout_ms=0, **size)).outcome == (504, "M_NOT_YET_UPLOADED")


async def test_get_content_thumbnail_from_before_the_freeze(server: Server, tmp_path: Path) -> None:
    async with open_media(server, tmp_path / "media", MEDIA__ALLOW_LEGACY="true") as media:
        uri = await upload(await media.register("alice"), plain(100, 100), "image/png")
    async with open_media(server, tmp_path / "media") as media:
        response = await thumbnail(media.client(), uri, base=LEGACY_THUMBNAIL, width=32, height=32)
        assert decode(response.body).size == (32, 32)


async def test_get_content_thumbnail_in_many_sizes_keeps_some(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, plain(300, 300), "image/png")
    for width in range(1, THUMBNAILS_PER_MEDIA_MAX + 4):
        response = await thumbnail(alice, uri, width=width, height=96, method="crop")
        assert decode(response.body).size == (width, 96)
    assert count(media, uri) == THUMBNAILS_PER_MEDIA_MAX


async def test_get_content_thumbnail_on_a_full_disk_is_served_and_not_kept(
    media: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*args: object) -> int:
        raise OSError(28, "No space left on device")

    alice = await media.register("alice")
    uri = await upload(alice, plain(100, 100), "image/png")
    monkeypatch.setattr("conduit_py.service.media.files.os.write", no_space)
    async with media.leaves_no_trace():
        response = await thumbnail(alice, uri, width=32, height=32)
        assert decode(response.body).size == (32, 32)
    assert len(media.on_disk()) == 1


async def test_get_content_thumbnail_is_not_waited_for_without_end(
    media: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnailing, "SECONDS_MAX", -1.0)
    alice = await media.register("alice")
    uri = await upload(alice, plain(100, 100), "image/png")
    assert (await thumbnail(alice, uri, width=32, height=32)).outcome == (400, "M_UNKNOWN")
    assert (await download(alice, uri)).status == 200
