"""Thumbnails of other servers' images: made of what was fetched, or fetched where the image is too large."""

from __future__ import annotations

import pytest
import trio

from kvschema.catalog import media as trees
from tests.rig.client import Response
from tests.rig.images import decode, plain, png_that_claims
from tests.rig.media import MediaServer, thumbnail
from tests.rig.other_servers import Medium, OtherServers

URI = "mxc://two.test/abc"


async def test_thumbnail_is_made_of_the_fetched_image(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    medium = others.has(URI, plain(100, 100), "image/png")
    for size in (32, 96):
        response = await thumbnail(alice, URI, width=size, height=size, method="crop")
        assert decode(response.body).size == (size, size)
    assert len(medium.asked) == 1


async def test_thumbnail_of_too_many_pixels_is_the_other_servers_fault(
    media: MediaServer, others: OtherServers
) -> None:
    alice = await media.register("alice")
    others.has(URI, png_that_claims(30_000, 30_000), "image/png")
    assert (await thumbnail(alice, URI, width=32, height=32)).outcome == (502, "M_TOO_LARGE")


@pytest.fixture
def large(others: OtherServers) -> Medium:
    """The thumbnail of an image that is too large."""
    others.has(URI, bytes(200_001), "image/png")
    others.thumbnails[URI] = Medium(plain(32, 32), "image/png", "theirs.png")
    return others.thumbnails[URI]


async def test_thumbnail_of_what_is_too_large_is_fetched_once(
    media: MediaServer, others: OtherServers, large: Medium
) -> None:
    alice = await media.register("alice")
    responses: list[Response] = []

    async def ask() -> None:
        responses.append(await thumbnail(alice, URI, width=30, height=20, method="crop", animated="true"))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    await ask()
    for response in responses:
        assert (response.status, response.body) == (200, plain(32, 32))
        assert response.headers["content-disposition"] == "inline; filename=thumbnail.png"
    assert large.asked == [{"width": "30", "height": "20", "method": "crop", "animated": "true"}]
    assert media.row_of(URI) is None
    others.forbidden.add("two.test")
    assert (await thumbnail(alice, URI, width=30, height=20, method="crop", animated="true")).status == 200


async def test_thumbnail_from_elsewhere_needs_a_token_too(media: MediaServer, large: Medium) -> None:
    await thumbnail(await media.register("alice"), URI, width=32, height=32)
    nobody = media.client()
    refused = await thumbnail(nobody, URI, base="/_matrix/media/v3/thumbnail", width=32, height=32)
    assert refused.outcome == (404, "M_NOT_FOUND")


@pytest.mark.parametrize("content_type", ["image/svg+xml", "text/html", "application/octet-stream", ""])
async def test_thumbnail_that_is_no_safe_image_is_not_taken(
    media: MediaServer, large: Medium, content_type: str
) -> None:
    alice = await media.register("alice")
    large.content_type = content_type
    async with media.leaves_no_trace():
        assert (await thumbnail(alice, URI, width=32, height=32)).outcome == (502, "M_UNKNOWN")
    assert media.on_disk() == []


async def test_thumbnails_from_elsewhere_have_a_maximum(media: MediaServer, large: Medium) -> None:
    alice = await media.register("alice")
    for width in range(1, trees.THUMBNAILS_PER_MEDIA_MAX + 1):
        assert (await thumbnail(alice, URI, width=width, height=96, method="crop")).status == 200
    refused = await thumbnail(alice, URI, width=90, height=96, method="crop")
    assert refused.outcome == (502, "M_TOO_LARGE")


async def test_thumbnails_from_elsewhere_go_with_the_medium(media: MediaServer, large: Medium) -> None:
    alice = await media.register("alice")
    await thumbnail(alice, URI, width=32, height=32)
    assert len(media.on_disk()) == 1
    assert await media.media.removal.remove_media(trees.ByMxc("two.test", "abc"))
    assert media.on_disk() == []
    assert not await media.media.removal.remove_media(trees.ByMxc("two.test", "abc"))
