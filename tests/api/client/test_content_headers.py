"""With which headers content is served, whatever it says it is, on every way there is to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from conduit_py.api.content import INLINE_TYPES
from tests.rig.client import Client, Response
from tests.rig.images import plain
from tests.rig.media import DOWNLOAD, LEGACY_DOWNLOAD, MediaServer, download, open_media, thumbnail, upload
from tests.rig.other_servers import OtherServers
from tests.rig.server import Server

DANGEROUS = (
    "text/html",
    "text/html; charset=utf-8",
    "TEXT/HTML",
    "application/xhtml+xml",
    "image/svg+xml",
    "text/xml",
    "application/xml",
    "application/javascript",
    "text/javascript",
    "application/pdf",
    "application/x-shockwave-flash",
    "application/octet-stream",
    "application/zip",
    "multipart/mixed; boundary=x",
    "message/rfc822",
    "image/svg+xml;image/png",
    "image/png2",
)
"""Served, and not shown in the browser."""
NO_TYPES = ("", "nonsense", "image/", "/png", "image/png\x7f", "a/" + "b" * 300)
"""What cannot be a type is served as just bytes."""
NAMES = {
    "a.txt": "filename=a.txt",
    "a b.txt": 'filename="a b.txt"',
    'a"b\\c.txt': 'filename="a\\"b\\\\c.txt"',
    "a;b=c.txt": 'filename="a;b=c.txt"',
    "Grüße.txt": "filename*=utf-8''Gr%C3%BC%C3%9Fe.txt",
    "日本語.png": "filename*=utf-8''" + quote("日本語.png"),
    "👩‍👩‍👧.gif": "filename*=utf-8''" + quote("👩‍👩‍👧.gif"),
    "a\r\nX-Evil: 1": "filename*=utf-8''a%0D%0AX-Evil%3A%201",
    "a\x00b": "filename*=utf-8''a%00b",
    "../../etc/passwd": 'filename="../../etc/passwd"',
    "%2e%2e%2f": 'filename="%2e%2e%2f"',
}


@pytest.fixture
def others() -> OtherServers:
    return OtherServers()


@pytest.fixture
async def media(server: Server, tmp_path: Path, others: OtherServers) -> AsyncIterator[MediaServer]:
    async with open_media(server, tmp_path / "media", source=others, MEDIA__ALLOW_LEGACY="true") as media:
        yield media


def check_guards(response: Response) -> None:
    """What keeps a browser from running content.

    Spec: client-server-api/#content-repository
    """
    assert response.headers["content-security-policy"] == (
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline';"
        " object-src 'self';"
    )
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["access-control-allow-origin"] == "*"


async def look(media: MediaServer, user: Client, uri: str) -> list[Response]:
    """The same content on every way there is."""
    nobody = media.client()
    return [
        await download(user, uri),
        await download(user, uri, range="bytes=0-0"),
        await download(user, uri, method="HEAD"),
        await download(nobody, uri, base=LEGACY_DOWNLOAD),
        await download(user, uri, if_none_match="*"),
    ]


def test_inline_types_are_those_of_the_specification() -> None:
    assert len(INLINE_TYPES) == 26
    assert not any("svg" in it or "html" in it or "xml" in it or "script" in it for it in INLINE_TYPES)


@pytest.mark.parametrize("content_type", sorted(INLINE_TYPES))
async def test_safe_type_is_shown(media: MediaServer, others: OtherServers, content_type: str) -> None:
    alice = await media.register("alice")
    others.has("mxc://two.test/a", b"12", content_type)
    for uri in (await upload(alice, b"1", content_type), "mxc://two.test/a"):
        for response in await look(media, alice, uri):
            check_guards(response)
            assert response.headers["content-type"] == content_type
            assert response.headers["content-disposition"] == "inline"


@pytest.mark.parametrize("content_type", DANGEROUS)
async def test_type_that_may_run_is_for_saving(media: MediaServer, others: OtherServers, content_type: str) -> None:
    alice = await media.register("alice")
    others.has("mxc://two.test/a", b"12", content_type)
    for uri in (await upload(alice, b"1", content_type), "mxc://two.test/a"):
        for response in await look(media, alice, uri):
            check_guards(response)
            assert response.headers["content-type"] == content_type
            assert response.headers["content-disposition"] == "attachment"


@pytest.mark.parametrize("content_type", NO_TYPES)
async def test_what_is_no_type_is_just_bytes(media: MediaServer, others: OtherServers, content_type: str) -> None:
    alice = await media.register("alice")
    others.has("mxc://two.test/a", b"12", content_type)
    for uri in (await upload(alice, b"1", content_type), "mxc://two.test/a"):
        for response in await look(media, alice, uri):
            check_guards(response)
            assert response.headers["content-type"] == "application/octet-stream"
            assert response.headers["content-disposition"] == "attachment"


@pytest.mark.parametrize(("filename", "expected"), NAMES.items())
async def test_name_arrives_and_breaks_out_of_nothing(
    media: MediaServer, others: OtherServers, filename: str, expected: str
) -> None:
    alice = await media.register("alice")
    others.has("mxc://two.test/a", b"x", filename=filename)
    uri = await upload(alice, b"x", filename=filename)
    overridden = f"{await upload(alice, b'y')}/{quote(filename, safe='')}"
    for place in (uri, "mxc://two.test/a", overridden):
        for base in (DOWNLOAD, LEGACY_DOWNLOAD):
            response = await download(alice, place, base=base)
            assert response.status == 200
            assert response.headers["content-disposition"] == f"inline; {expected}"
            assert "x-evil" not in response.headers


async def test_thumbnail_is_shown_whatever_the_image_is_called(media: MediaServer) -> None:
    alice = await media.register("alice")
    uri = await upload(alice, plain(100, 100), "image/svg+xml", "evil.svg")
    for _ in ("made", "kept"):
        response = await thumbnail(alice, uri, width=32, height=32)
        check_guards(response)
        assert response.headers["content-type"] == "image/jpeg"
        assert response.headers["content-disposition"] == "inline; filename=thumbnail.jpeg"


async def test_content_is_kept_by_the_asker_alone(media: MediaServer) -> None:
    """It is for whoever has a token, and not for proxies to hand on."""
    alice = await media.register("alice")
    uri = await upload(alice, b"x")
    response = await download(alice, uri)
    assert response.headers["cache-control"] == "private, max-age=86400, immutable"
    again = await download(alice, uri, if_none_match=response.headers["etag"])
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", response.headers["etag"])
