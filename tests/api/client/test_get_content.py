"""``GET .../media/download/{serverName}/{mediaId}``, with and without an access token"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conduit_py.api.content import INLINE_TYPES, disposition
from conduit_py.data.consistency import check_consistency
from conduit_py.service.media import files
from tests.rig.media import LEGACY_DOWNLOAD, MediaServer, create, download, open_media, upload
from tests.rig.server import Server

LARGE = bytes(range(256)) * 2000
assert len(LARGE) > files.CHUNK_BYTES


@pytest.fixture
async def media(server: Server, tmp_path: Path) -> AsyncIterator[MediaServer]:
    async with open_media(server, tmp_path / "media") as media:
        yield media
        with media.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []


async def test_get_content_keeps_browsers_from_running_it(media: MediaServer) -> None:
    alice = await media.register("alice")
    response = await download(alice, await upload(alice, b"<script>", "text/html", "page.html"))
    headers = response.headers
    assert headers["content-disposition"] == "attachment; filename=page.html"
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'; script-src 'none';")
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["access-control-allow-origin"] == "*"
    assert media.throttled[-1] == ("media_fetch", alice.user_id)


@pytest.mark.parametrize("content_type", ["image/png", "IMAGE/PNG", "text/plain; charset=utf-8"])
async def test_get_content_of_a_safe_type_is_inline(media: MediaServer, content_type: str) -> None:
    alice = await media.register("alice")
    response = await download(alice, await upload(alice, b"x", content_type))
    assert response.headers["content-disposition"] == "inline"


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml"])
def test_types_that_may_run_are_attachments(content_type: str) -> None:
    assert content_type not in INLINE_TYPES
    assert disposition(content_type, None) == "attachment"


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.txt", "inline; filename=a.txt"),
        ("War and Peace.txt", 'inline; filename="War and Peace.txt"'),
        ('"q\\.txt', 'inline; filename="\\"q\\\\.txt"'),
        ("Grüße.txt", "inline; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt"),
        ("a\r\nSet-Cookie: x", "inline; filename*=utf-8''a%0D%0ASet-Cookie%3A%20x"),
    ],
)
async def test_get_content_tells_the_filename(media: MediaServer, filename: str, expected: str) -> None:
    alice = await media.register("alice")
    response = await download(alice, await upload(alice, b"x", filename=filename))
    assert response.headers["content-disposition"] == expected


async def test_get_content_override_name_tells_the_other_name(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, b"x", filename="before.txt")
    response = await download(alice, f"{uri}/after.txt")
    assert (response.status, response.body) == (200, b"x")
    assert response.headers["content-disposition"] == "inline; filename=after.txt"
    assert (await download(alice, "mxc://one.test/nothing/name")).outcome == (404, "M_NOT_FOUND")
    assert (await download(media.client(), f"{uri}/name")).outcome == (401, "M_MISSING_TOKEN")


async def test_get_content_without_a_token(media: MediaServer) -> None:
    uri = await upload(await media.register("alice"), b"x")
    assert (await download(media.client(), uri)).outcome == (401, "M_MISSING_TOKEN")


@pytest.mark.parametrize(
    "uri",
    [
        "mxc://one.test/nothing",
        "mxc://two.test/remote",
        "mxc://one.test/..%2F..%2Fetc%2Fpasswd",
        "mxc://one.test/a.b",
        "mxc://one_test/a",
        "mxc://..%2F..%2F/a",
        "mxc://one.test/" + "x" * 200,
        "mxc://" + "x" * 240 + "/a",
    ],
)
async def test_get_content_that_there_is_not(media: MediaServer, uri: str) -> None:
    alice = await media.register("alice")
    assert (await download(alice, uri)).outcome == (404, "M_NOT_FOUND")
    assert (await download(alice, uri, base=LEGACY_DOWNLOAD)).outcome == (404, "M_NOT_FOUND")


@pytest.mark.parametrize("query", ["?timeout_ms=soon", "?timeout_ms=-1", "?allow_remote=maybe", "?allow_redirect=1"])
async def test_get_content_with_a_wrong_parameter(media: MediaServer, query: str) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, b"x")
    assert (await download(alice, uri, query=query)).outcome == (400, "M_INVALID_PARAM")


async def test_get_content_by_a_guest(media: MediaServer, tmp_path: Path) -> None:
    alice, bob = await media.register("alice"), await media.register("bob")
    uri = await upload(alice, b"x")
    await media.change_account(bob, is_guest=True)
    assert (await download(bob, uri)).body == b"x"


async def test_get_content_whose_file_is_lost(media: MediaServer) -> None:
    alice = await media.register("alice")
    for content in (b"small", LARGE):
        uri = await upload(alice, content)
        for path in media.on_disk():
            (media.root / path).unlink()
        assert (await download(alice, uri)).outcome == (404, "M_NOT_FOUND")
        assert await upload(alice, content) != uri
        assert (await download(alice, uri)).body == content, "uploading it again brings it back"


# Parts and what a client has already


@pytest.mark.parametrize("content", [b"0123456789" * 10, LARGE])
@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=90-99999999", 90, None)],
)
async def test_get_content_in_part(media: MediaServer, content: bytes, asked: str, start: int, end: int | None) -> None:
    alice = await media.register("alice")
    response = await download(alice, await upload(alice, content), range=asked)
    expected = content[start:end]
    first = start % len(content)
    assert (response.status, response.body) == (206, expected)
    assert response.headers["content-length"] == str(len(expected))
    last = first + len(expected) - 1
    assert response.headers["content-range"] == f"bytes {first}-{last}/{len(content)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=-", "bytes=7-3", "lines=0-1", "bytes=a-b", "bytes=0-1 "])
async def test_get_content_with_a_range_that_is_passed_over(media: MediaServer, asked: str) -> None:
    alice = await media.register("alice")
    response = await download(alice, await upload(alice, b"0123456789"), range=asked)
    assert (response.status, response.body) == (200, b"0123456789")
    assert response.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(("content", "asked"), [(b"0123456789", "bytes=10-"), (b"01", "bytes=-0"), (b"", "bytes=0-")])
async def test_get_content_beyond_its_end(media: MediaServer, content: bytes, asked: str) -> None:
    alice = await media.register("alice")
    response = await download(alice, await upload(alice, content), range=asked)
    assert response.outcome == (416, "M_UNKNOWN")
    assert response.headers["content-range"] == f"bytes */{len(content)}"


async def test_get_content_that_the_client_has(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, b"0123456789")
    etag = (await download(alice, uri)).headers["etag"]
    for header in (etag, f'"other", W/{etag}', "*"):
        response = await download(alice, uri, if_none_match=header)
        assert (response.status, response.body) == (304, b"")
        assert response.headers["etag"] == etag
    assert (await download(alice, uri, if_none_match='"other"')).status == 200
    assert (await download(alice, uri, range="bytes=0-1", if_range=etag)).status == 206
    assert (await download(alice, uri, range="bytes=0-1", if_range='"other"')).body == b"0123456789"


@pytest.mark.parametrize("content", [b"0123456789", LARGE])
async def test_head_tells_of_the_content_without_it(media: MediaServer, content: bytes) -> None:
    alice = await media.register("alice")
    response = await download(alice, await upload(alice, content), method="HEAD")
    assert (response.status, response.headers["content-length"]) == (200, str(len(content)))


# Without an access token


async def test_get_content_of_new_media_is_frozen(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, b"x")
    for who in (media.client(), alice):
        assert (await download(who, uri, base=LEGACY_DOWNLOAD)).outcome == (404, "M_NOT_FOUND")
        assert (await download(who, f"{uri}/name", base=LEGACY_DOWNLOAD)).outcome == (404, "M_NOT_FOUND")
    assert media.throttled[-1] == ("media_fetch", "127.0.0.1")


async def test_get_content_does_not_tell_what_is_pending(media: MediaServer) -> None:
    uri = await create(await media.register("alice"))
    assert (await download(media.client(), uri, base=LEGACY_DOWNLOAD)).outcome == (404, "M_NOT_FOUND")


async def test_get_content_from_before_the_freeze_stays_reachable(server: Server, tmp_path: Path) -> None:
    async with open_media(server, tmp_path / "media", MEDIA__ALLOW_LEGACY="false") as media:
        alice = await media.register("alice")
        oldest = await upload(alice, b"oldest")
    async with open_media(server, tmp_path / "media", MEDIA__ALLOW_LEGACY="true") as media:
        older = await upload(await media.log_in(alice), b"older")
        for uri, content in ((oldest, b"oldest"), (older, b"older")):
            response = await download(media.client(), uri, base=LEGACY_DOWNLOAD)
            assert (response.status, response.body) == (200, content)
            assert response.headers["cross-origin-resource-policy"] == "cross-origin"
    async with open_media(server, tmp_path / "media", MEDIA__ALLOW_LEGACY="false") as media:
        nobody = media.client()
        assert (await download(nobody, older, base=LEGACY_DOWNLOAD)).body == b"older"
        renamed = await download(nobody, f"{older}/name.txt", base=LEGACY_DOWNLOAD)
        assert renamed.headers["content-disposition"] == "inline; filename=name.txt"
        assert (await download(nobody, oldest, base=LEGACY_DOWNLOAD)).outcome == (404, "M_NOT_FOUND")
