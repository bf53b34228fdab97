"""Files of one server that people on another look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from kvschema.engine import Engine
from tests.rig.images import decode, plain
from tests.rig.media import create, download, thumbnail, upload
from tests.rig.network import Network, open_network


@pytest.fixture
async def network(make_engine: Callable[[], Engine], tmp_path: Path) -> AsyncIterator[Network]:
    path = str(tmp_path / "{name}")
    async with open_network(
        make_engine, "one.test", "two.test", MEDIA__PATH=path, MEDIA__REMOTE_SIZE_MAX="200000"
    ) as network:
        yield network


def fetches(network: Network) -> list[str]:
    """What was asked for between servers, without the keys."""
    return [path.partition("?")[0] for *_, path in network.requests if "/media/" in path]


async def test_a_file_of_another_server_is_fetched_once(network: Network, autojump_clock: MockClock) -> None:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    for content in (b"hello", b"", bytes(range(256)) * 700):
        uri = await upload(alice, content, "text/plain; charset=utf-8", "Grüße.txt")
        before = len(fetches(network))
        for _ in range(2):
            response = await download(bob, uri)
            assert (response.status, response.body) == (200, content)
            assert response.headers["content-type"] == "text/plain; charset=utf-8"
            assert response.headers["content-disposition"] == "inline; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt"
        assert fetches(network)[before:] == [f"/_matrix/federation/v1/media/download/{uri.rpartition('/')[2]}"]
        network.isolate("one.test")
        assert (await download(bob, uri)).body == content
        network.heal()


async def test_a_thumbnail_is_made_of_what_was_fetched(network: Network, autojump_clock: MockClock) -> None:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    uri = await upload(alice, plain(400, 300), "image/png", "a.png")
    response = await thumbnail(bob, uri, width=32, height=32, method="crop")
    assert decode(response.body).size == (32, 32)
    assert (await download(bob, uri)).body == plain(400, 300)
    assert len(fetches(network)) == 1


async def test_a_thumbnail_of_what_is_too_large_comes_from_the_other_server(
    network: Network, autojump_clock: MockClock
) -> None:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    large = plain(300, 300, "BMP")
    uri = await upload(alice, large, "image/bmp")
    assert len(large) > 200_000
    assert (await download(bob, uri)).outcome == (502, "M_TOO_LARGE")
    for _ in range(2):
        response = await thumbnail(bob, uri, width=32, height=32, method="crop")
        assert (response.status, response.headers["content-type"]) == (200, "image/jpeg")
        assert response.headers["content-disposition"] == "inline; filename=thumbnail.jpeg"
        assert decode(response.body).size == (32, 32)
    assert [path.split("/")[5] for path in fetches(network)] == ["download", "thumbnail"]


async def test_an_upload_that_was_announced_is_waited_for(network: Network, autojump_clock: MockClock) -> None:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    uri = await create(alice)
    assert (await download(bob, uri, query="?timeout_ms=1000")).outcome == (504, "M_NOT_YET_UPLOADED")
    statuses = []

    async def look() -> None:
        statuses.append((await download(bob, uri, query="?timeout_ms=30000")).body)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await trio.sleep(15)
        path = f"/_matrix/media/v3/upload/{uri.removeprefix('mxc://')}"
        assert (await alice.request("PUT", path, body=b"late")).status == 200
    assert statuses == [b"late"]


async def test_a_server_that_is_gone_is_not_asked_all_the_time(network: Network, autojump_clock: MockClock) -> None:
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    uri, other = await upload(alice, b"x"), await upload(alice, b"y")
    network.isolate("one.test")
    assert (await download(bob, uri)).outcome == (502, "M_UNKNOWN")
    network.heal()
    assert (await download(bob, other)).outcome == (502, "M_UNKNOWN")
    assert fetches(network) == []
    await trio.sleep(61)
    assert (await download(bob, uri)).body == b"x"
    assert (await download(bob, other)).body == b"y"
