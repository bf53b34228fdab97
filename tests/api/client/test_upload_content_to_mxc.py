"""``POST /_matrix/media/v1/create`` and ``PUT /_matrix/media/v3/upload/{serverName}/{mediaId}``"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from conduit_py.data.consistency import check_consistency
from conduit_py.service.media.upload import PENDING_MS
from kvschema.catalog.media import PENDING_PER_USER_MAX
from tests.rig.client import Response
from tests.rig.media import (
    CREATE,
    DOWNLOAD,
    LEGACY_DOWNLOAD,
    MediaServer,
    ask_upload_to,
    create,
    download,
    open_media,
    upload,
)
from tests.rig.server import START_MS, Server


@pytest.fixture
async def media(server: Server, tmp_path: Path) -> AsyncIterator[MediaServer]:
    async with open_media(server, tmp_path / "media") as media:
        yield media
        with media.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []


async def test_create_content_tells_until_when(media: MediaServer, autojump_clock: trio.testing.MockClock) -> None:
    alice = await media.register("alice")
    response = await alice.request("POST", CREATE)
    assert response.status == 200
    assert response.json["content_uri"].startswith("mxc://one.test/")
    assert response.json["unused_expires_at"] == START_MS + PENDING_MS


async def test_create_content_without_a_token(media: MediaServer) -> None:
    async with media.leaves_no_trace():
        assert (await media.client().request("POST", CREATE)).outcome == (401, "M_MISSING_TOKEN")


async def test_create_content_has_a_limit_of_what_is_pending(
    media: MediaServer, autojump_clock: trio.testing.MockClock
) -> None:
    alice, bob = await media.register("alice"), await media.register("bob")
    uris = [await create(alice) for _ in range(PENDING_PER_USER_MAX)]
    async with media.leaves_no_trace():
        response = await alice.request("POST", CREATE)
        assert response.outcome == (429, "M_LIMIT_EXCEEDED")
        assert response.json["retry_after_ms"] == PENDING_MS
    await create(bob)
    assert (await ask_upload_to(alice, uris[0], b"x")).status == 200
    await create(alice)
    await trio.sleep(PENDING_MS / 1000)
    await create(alice)


async def test_upload_content_to_mxc_is_served(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await create(alice)
    response = await ask_upload_to(alice, uri, b"late", "image/png")
    assert (response.status, response.json) == (200, {})
    response = await download(alice, uri)
    assert (response.body, response.headers["content-type"]) == (b"late", "image/png")


async def test_download_waits_for_an_upload_that_was_announced(
    media: MediaServer, autojump_clock: trio.testing.MockClock
) -> None:
    alice, bob = await media.register("alice"), await media.register("bob")
    uri = await create(alice)
    responses: list[Response] = []

    async def wait() -> None:
        responses.append(await download(bob, uri))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.sleep(5)
        assert responses == []
        assert (await ask_upload_to(alice, uri, b"at last")).status == 200
    assert [response.body for response in responses] == [b"at last"] * 2
    assert trio.current_time() < 6


@pytest.mark.parametrize(("query", "waits_s"), [("?timeout_ms=3000", 3), ("", 20), ("?timeout_ms=999999999", 60)])
async def test_download_does_not_wait_for_ever(
    media: MediaServer, autojump_clock: trio.testing.MockClock, query: str, waits_s: int
) -> None:
    alice = await media.register("alice")
    uri = await create(alice)
    began = trio.current_time()
    response = await download(alice, uri, query=query)
    assert response.outcome == (504, "M_NOT_YET_UPLOADED")
    assert trio.current_time() - began == pytest.approx(waits_s)


async def test_download_of_an_id_that_has_expired(media: MediaServer, autojump_clock: trio.testing.MockClock) -> None:
    alice = await media.register("alice")
    uri = await create(alice)
    await trio.sleep(PENDING_MS / 1000)
    began = trio.current_time()
    assert (await download(alice, uri)).outcome == (404, "M_NOT_FOUND")
    assert trio.current_time() == began


async def test_upload_content_to_mxc_twice(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await create(alice)
    assert (await ask_upload_to(alice, uri, b"first")).status == 200
    async with media.leaves_no_trace():
        response = await ask_upload_to(alice, uri, b"second")
        assert response.outcome == (409, "M_CANNOT_OVERWRITE_MEDIA")
    assert (await download(alice, uri)).body == b"first"


async def test_upload_content_to_mxc_twice_at_once(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await create(alice)
    statuses: list[tuple[int, bytes]] = []

    async def put(content: bytes) -> None:
        response = await ask_upload_to(alice, uri, content)
        statuses.append((response.status, content))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, b"one")
        nursery.start_soon(put, b"two")
    assert sorted(status for status, _ in statuses) == [200, 409]
    assert (await download(alice, uri)).body == dict(statuses)[200]
    assert len(media.on_disk()) == 1


async def test_upload_content_to_mxc_of_media_that_was_uploaded_at_once(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, b"first")
    async with media.leaves_no_trace():
        assert (await ask_upload_to(alice, uri, b"second")).outcome == (409, "M_CANNOT_OVERWRITE_MEDIA")


async def test_upload_content_to_mxc_of_somebody_else(media: MediaServer) -> None:
    alice, bob = await media.register("alice"), await media.register("bob")
    uri = await create(alice)
    async with media.leaves_no_trace():
        assert (await ask_upload_to(bob, uri, b"mine")).outcome == (403, "M_FORBIDDEN")
    assert media.on_disk() == []


@pytest.mark.parametrize("uri", ["mxc://one.test/nothing", "mxc://two.test/nothing", "mxc://one.test/" + "x" * 300])
async def test_upload_content_to_mxc_that_was_not_created(media: MediaServer, uri: str) -> None:
    alice = await media.register("alice")
    async with media.leaves_no_trace():
        assert (await ask_upload_to(alice, uri, b"x")).outcome == (404, "M_NOT_FOUND")


async def test_upload_content_to_mxc_after_its_time(media: MediaServer, autojump_clock: trio.testing.MockClock) -> None:
    alice = await media.register("alice")
    uri = await create(alice)
    await trio.sleep(PENDING_MS / 1000)
    async with media.leaves_no_trace():
        assert (await ask_upload_to(alice, uri, b"x")).outcome == (404, "M_NOT_FOUND")
    assert media.on_disk() == []


async def test_upload_content_to_mxc_without_a_token(media: MediaServer) -> None:
    uri = await create(await media.register("alice"))
    async with media.leaves_no_trace():
        assert (await ask_upload_to(media.client(), uri, b"x")).outcome == (401, "M_MISSING_TOKEN")


@pytest.mark.parametrize("base", [DOWNLOAD, LEGACY_DOWNLOAD])
@pytest.mark.parametrize("name", ["", "/name.txt"])
async def test_download_of_what_is_not_there_yet(media: MediaServer, base: str, name: str) -> None:
    alice = await media.register("alice")
    uri = await create(alice)
    response = await download(alice, uri, base=base, query=f"{name}?timeout_ms=0")
    # The way without a session knows nothing of what came after it was frozen.
    assert response.outcome == ((504, "M_NOT_YET_UPLOADED") if base == DOWNLOAD else (404, "M_NOT_FOUND"))
