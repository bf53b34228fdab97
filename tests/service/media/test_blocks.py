"""Blocked media are seen by nobody, whether they are here or not."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from kvschema.catalog.media import ByMxc
from tests.rig.client import Response
from tests.rig.images import plain
from tests.rig.media import MediaServer, download, mxc_of, thumbnail, upload
from tests.rig.other_servers import Medium, OtherServers

URI = "mxc://two.test/abc"
MXC = ByMxc("two.test", "abc")


async def test_blocked_medium_is_not_served_until_it_is_unblocked(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri, other = await upload(alice, plain(100, 100), "image/png"), await upload(alice, b"other")
    assert (await thumbnail(alice, uri, width=32, height=32)).status == 200
    await media.media.blocks.block(mxc_of(uri), "unlawful")
    assert (await download(alice, uri)).outcome == (404, "M_NOT_FOUND")
    assert (await thumbnail(alice, uri, width=32, height=32)).outcome == (404, "M_NOT_FOUND")
    assert (await download(alice, other)).status == 200
    assert [(mxc, row.reason) for mxc, row in media.media.blocks.get_all()] == [(mxc_of(uri), "unlawful")]
    assert await media.media.blocks.unblock(mxc_of(uri))
    assert not await media.media.blocks.unblock(mxc_of(uri))
    assert (await download(alice, uri)).status == 200
    assert media.media.blocks.get_all() == []


async def test_blocked_medium_is_not_fetched(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    medium = others.has(URI, b"x")
    others.thumbnails[URI] = Medium(plain(32, 32), "image/png")
    await media.media.blocks.block(MXC, None)
    async with media.leaves_no_trace():
        assert (await download(alice, URI)).outcome == (404, "M_NOT_FOUND")
        assert (await thumbnail(alice, URI, width=32, height=32)).outcome == (404, "M_NOT_FOUND")
    assert medium.asked == others.thumbnails[URI].asked == []


async def test_medium_that_is_blocked_while_it_is_fetched_is_not_kept(media: MediaServer, others: OtherServers) -> None:
    alice = await media.register("alice")
    others.has(URI, b"x").may_end = may_end = trio.Event()
    responses: list[Response] = []

    async def ask() -> None:
        responses.append(await download(alice, URI))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await media.media.blocks.block(MXC, None)
        may_end.set()
    assert [response.outcome for response in responses] == [(404, "M_NOT_FOUND")]
    assert media.row_of(URI) is None
    assert media.on_disk() == []


async def test_thumbnail_from_elsewhere_of_a_blocked_medium_is_not_served(
    media: MediaServer, others: OtherServers
) -> None:
    alice = await media.register("alice")
    others.has(URI, bytes(200_001))
    others.thumbnails[URI] = Medium(plain(32, 32), "image/png")
    assert (await thumbnail(alice, URI, width=32, height=32)).status == 200
    await media.media.blocks.block(MXC, None)
    assert (await thumbnail(alice, URI, width=32, height=32)).outcome == (404, "M_NOT_FOUND")
    others.thumbnails[URI].may_end = may_end = trio.Event()
    await media.media.blocks.unblock(MXC)
    responses: list[Response] = []

    async def ask() -> None:
        responses.append(await thumbnail(alice, URI, width=90, height=90))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await media.media.blocks.block(MXC, None)
        may_end.set()
    assert [response.outcome for response in responses] == [(404, "M_NOT_FOUND")]
    assert len(media.on_disk()) == 1
