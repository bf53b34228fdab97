"""``POST /_matrix/media/v3/upload`` and ``GET .../config``"""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from conduit_py.config import RateLimit
from conduit_py.data.consistency import check_consistency
from conduit_py.service.media import files
from conduit_py.service.ratelimit import RateLimiter
from tests.rig.media import (
    CREATE,
    DOWNLOAD,
    LEGACY_DOWNLOAD,
    UPLOAD,
    MediaServer,
    ask_upload,
    ask_upload_to,
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
    async with open_media(server, tmp_path / "media", MAX_REQUEST_SIZE="1000000") as media:
        yield media
        with media.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []


async def test_upload_content_is_served_as_it_came(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, b"hello", "text/plain; charset=utf-8", "hello.txt")
    assert mxc_of(uri).server_name == "one.test"
    response = await download(alice, uri)
    assert (response.status, response.body) == (200, b"hello")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert media.throttled[0] == ("media_upload", alice.user_id)


async def test_upload_content_lies_under_its_hash(media: MediaServer) -> None:
    alice = await media.register("alice")
    await upload(alice, b"hello")
    digits = sha256(b"hello").hexdigest()
    assert media.on_disk() == [Path(digits[:2], digits[2:4], digits[4:])]
    assert (media.root / media.on_disk()[0]).read_bytes() == b"hello"


async def test_upload_content_twice_is_stored_once(media: MediaServer) -> None:
    alice, bob = await media.register("alice"), await media.register("bob")
    first, second = await upload(alice, b"the same"), await upload(bob, b"the same", "application/pdf")
    assert first != second
    assert len(media.on_disk()) == 1
    assert (await download(alice, first)).headers["content-type"] == "text/plain"
    assert (await download(alice, second)).headers["content-type"] == "application/pdf"


async def test_upload_content_larger_than_one_chunk(media: MediaServer) -> None:
    alice = await media.register("alice")
    content = bytes(range(256)) * 3000
    assert len(content) > 2 * files.CHUNK_BYTES
    assert (await download(alice, await upload(alice, content))).body == content


@pytest.mark.parametrize("content", [b"", b"x"])
async def test_upload_content_may_be_small(media: MediaServer, content: bytes) -> None:
    alice = await media.register("alice")
    assert (await download(alice, await upload(alice, content))).body == content


@pytest.mark.parametrize("sent", [None, "", "nonsense", "text/plain\x7f", "a/" + "b" * 300])
async def test_upload_content_of_no_known_type_is_octets(media: MediaServer, sent: str | None) -> None:
    alice = await media.register("alice")
    response = await download(alice, await upload(alice, b"?", sent))
    assert response.headers["content-type"] == "application/octet-stream"


async def test_upload_content_too_large(media: MediaServer) -> None:
    alice = await media.register("alice")
    async with media.leaves_no_trace():
        response = await ask_upload(alice, bytes(1_000_001))
        assert response.outcome == (413, "M_TOO_LARGE")
    assert media.on_disk() == []


async def test_upload_content_to_mxc_too_large(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await create(alice)
    async with media.leaves_no_trace():
        assert (await ask_upload_to(alice, uri, bytes(1_000_001))).outcome == (413, "M_TOO_LARGE")
    assert (await ask_upload_to(alice, uri, b"smaller")).status == 200


async def test_upload_content_too_large_without_saying_so(media: MediaServer) -> None:
    """A body in chunks tells its length by its end alone."""
    alice = await media.register("alice")
    headers = {"Transfer-Encoding": "chunked"}
    async with media.leaves_no_trace():
        response = await alice.request("POST", UPLOAD, body=bytes(1_000_001), headers=headers)
        assert response.outcome == (413, "M_TOO_LARGE")
    assert media.on_disk() == []


async def test_upload_content_with_a_filename_too_long(media: MediaServer) -> None:
    alice = await media.register("alice")
    async with media.leaves_no_trace():
        assert (await ask_upload(alice, b"x", filename="x" * 1025)).outcome == (400, "M_INVALID_PARAM")


async def test_upload_content_without_a_token(media: MediaServer) -> None:
    async with media.leaves_no_trace():
        assert (await ask_upload(media.client(), b"x")).outcome == (401, "M_MISSING_TOKEN")


async def test_upload_content_by_a_suspended_user(media: MediaServer) -> None:
    alice = await media.register("alice")
    await media.change_account(alice, is_suspended=True)
    async with media.leaves_no_trace():
        assert (await ask_upload(alice, b"x")).outcome == (403, "M_USER_SUSPENDED")
    assert media.on_disk() == []


async def test_upload_content_and_downloads_have_limits(server: Server, tmp_path: Path) -> None:
    limits = {name: RateLimit(per_second=0.001, burst=2) for name in ("media_upload", "media_fetch")}
    limiter = RateLimiter(limits, lambda: 0)
    async with open_media(server, tmp_path / "media", throttle=limiter) as media:
        alice = await media.register("alice")
        uri = await upload(alice, b"1")
        await alice.request("POST", CREATE)
        async with media.leaves_no_trace():
            assert (await ask_upload(alice, b"2")).outcome == (429, "M_LIMIT_EXCEEDED")
            assert (await alice.request("POST", CREATE)).outcome == (429, "M_LIMIT_EXCEEDED")
        assert len(media.on_disk()) == 1
        for base, who in ((DOWNLOAD, alice), (LEGACY_DOWNLOAD, media.client())):
            for _ in range(2):
                await download(who, uri, base=base)
            assert (await download(who, uri, base=base)).outcome == (429, "M_LIMIT_EXCEEDED")
        assert (await thumbnail(alice, uri, width=32, height=32)).outcome == (429, "M_LIMIT_EXCEEDED")


async def test_upload_content_to_a_full_disk(media: MediaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*args: object) -> int:
        raise OSError(28, "No space left on device")

    alice = await media.register("alice")
    monkeypatch.setattr("conduit_py.service.media.files.os.write", no_space)
    async with media.leaves_no_trace():
        assert (await ask_upload(alice, b"x")).outcome == (507, "M_UNKNOWN")
    assert media.on_disk() == []


@pytest.mark.parametrize("path", ["/_matrix/client/v1/media/config", "/_matrix/media/v3/config"])
async def test_get_config_tells_the_largest_upload(media: MediaServer, path: str) -> None:
    alice = await media.register("alice")
    response = await alice.get(path)
    assert (response.status, response.json) == (200, {"m.upload.size": 1_000_000})
    assert (await media.client().get(path)).outcome == (401, "M_MISSING_TOKEN")
